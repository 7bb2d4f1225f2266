"""The entry to all use cases: one command in, one outcome out, without HTTP."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from resumable_glance.auth.base import Identity
from resumable_glance.catalog.notifications import ChangeNotifier
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Append, Appended, Cancel, Command, Create, Created, Join, Outcome, Watch
from resumable_glance.model.states import IllegalTransition
from resumable_glance.uploads.authorization import Authorization
from resumable_glance.uploads.body import Body
from resumable_glance.uploads.call import Call
from resumable_glance.uploads.capacity import Capacity
from resumable_glance.uploads.chunk_writer import storage_failure
from resumable_glance.uploads.write_locks import WriteLocks

UseCase = Callable[[Any, Call], Awaitable[Outcome]]
_NOT_WHILE_CLOSING = (Create, Join, Append, Watch)


@dataclasses.dataclass(frozen=True)
class UploadService:
    """Carries out commands. `use_cases` has the function of each command."""

    use_cases: Mapping[type[Command], UseCase]
    authorization: Authorization
    capacity: Capacity
    locks: WriteLocks
    notifier: ChangeNotifier

    async def perform(self, command: Command, identity: Identity, body: Body, request_id: str | None = None) -> Outcome:
        """Carry out a command. Raises Refused if that is impossible."""
        self.authorization.check(command, identity)
        if isinstance(command, _NOT_WHILE_CLOSING):
            self.locks.check_open()
        call = Call(identity, body, request_id)
        try:
            outcome: Outcome = await self.use_cases[type(command)](command, call)
            if isinstance(command, Create) and isinstance(outcome, Created) and command.first and not outcome.repeated:
                return await self._with_first_chunk(command, outcome, call)
            return outcome
        except IllegalTransition:
            raise Refused(Reason.SEALED, "The upload has moved on meanwhile. Ask for its state.") from None
        except (OSError, EOFError) as problem:  # of storage or of the catalog
            raise storage_failure(problem) from problem

    async def close(self) -> None:
        """Refuse new work, and interrupt running requests; the bytes that came are kept."""
        self.notifier.close()
        await self.locks.close()

    async def check(self) -> None:
        """Raise Refused if the service is stopping, or out of space."""
        self.locks.check_open()
        await self.capacity.check_space(1)

    async def _with_first_chunk(self, create: Create, created: Created, call: Call) -> Created:
        upload_id = created.upload.id
        assert create.first is not None
        try:
            appended = await self.use_cases[Append](Append(upload_id, create.first), call)
        except (Refused, OSError):
            if create.key is None:  # the client can't continue an upload whose address it does not know
                with contextlib.suppress(Refused, OSError):
                    await self.use_cases[Cancel](Cancel(upload_id), call)
            raise
        assert isinstance(appended, Appended)
        return dataclasses.replace(created, upload=appended.upload)
