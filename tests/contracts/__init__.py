"""The contracts of the families, as checks that every member runs: scratch, sinks and gates.

You are writing a new scratch, sink or gate? Then its test is one line, and this package is the reader of your
work: each check walks through what the family's `__init__` promises and breaks off, with a sentence, at the first
promise that your member does not keep. It raises BrokenPromise, which is an AssertionError, so that any test runner
shows it well.

    def test_my_scratch_keeps_the_contract(tmp_path):
        asyncio.run(check_storage(MyScratch(tmp_path)))

The checks speak to your member only through the family's Protocol. They leave nothing behind if the contract is
kept, need no network of their own, and take well under a second for a member that works in memory. They can't see
what a crash of the machine loses.
"""

from tests.contracts.auth import check_authenticator
from tests.contracts.images import check_image_service
from tests.contracts.promises import BrokenPromise
from tests.contracts.storage import BAD_IDS, check_storage

__all__ = ["BAD_IDS", "BrokenPromise", "check_authenticator", "check_image_service", "check_storage"]
