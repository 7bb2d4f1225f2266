"""The catalog: every line of SQL, every table, every migration.

Each method of its parts is one transaction, and returns once that is durable. Each may raise OSError; then nothing was
recorded.
"""

from __future__ import annotations

from resumable_glance.catalog.credentials import Credentials
from resumable_glance.catalog.idempotency_keys import IdempotencyKeys
from resumable_glance.catalog.instances import Instances
from resumable_glance.catalog.orphans import OrphanedImages
from resumable_glance.catalog.transactions import Transactions
from resumable_glance.catalog.trusts import TrustRecords
from resumable_glance.catalog.uploads import UploadRecords


class Catalog:
    """The tables of one database."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions
        self.notifier = transactions.notifier
        self.uploads = UploadRecords(transactions)
        self.orphans = OrphanedImages(transactions)
        self.credentials = Credentials(transactions)
        self.idempotency_keys = IdempotencyKeys(transactions)
        self.instances = Instances(transactions)
        self.trusts = TrustRecords(transactions)

    def close(self) -> None:
        """Close the database."""
        self.transactions.close()
