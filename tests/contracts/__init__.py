"""The contracts of storage, image services and authenticators, as checks that each member runs.

The test of a new member is one line. Each check walks through what the Protocol in the family's base.py promises, and
raises BrokenPromise, an AssertionError with a sentence, at the first promise that the member does not keep.

    def test_my_storage_keeps_the_contract(tmp_path):
        asyncio.run(check_storage(MyStorage(tmp_path)))

The checks use nothing but the family's Protocol. They leave nothing behind if the contract is kept, need no network of
their own, and take well under a second for a member in memory. They can't see what a crash of the machine loses.
"""

from tests.contracts.auth import check_authenticator
from tests.contracts.images import check_image_service
from tests.contracts.promises import BrokenPromise
from tests.contracts.storage import BAD_IDS, check_storage

__all__ = ["BAD_IDS", "BrokenPromise", "check_authenticator", "check_image_service", "check_storage"]
