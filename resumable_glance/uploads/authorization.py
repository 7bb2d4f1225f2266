"""Which uploads a caller reaches, and which commands are allowed.

An upload that a caller does not reach can't be told from one that does not exist.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from resumable_glance.auth.base import OWN, Identity, Right
from resumable_glance.auth.tickets import ticket_expired
from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.errors import Reason, Refused
from resumable_glance.model import commands
from resumable_glance.model.commands import Append, Cancel, Command, Get, GetReceipt, Watch
from resumable_glance.model.states import State
from resumable_glance.model.upload import Upload, expired
from resumable_glance.uploads.write_locks import WriteLocks

WITH_A_TICKET = (Append, Get, Watch, GetReceipt, Cancel)
# The rights that allow each command; where there are two, the second one is for the uploads of others.
RIGHTS: Mapping[type[Command], tuple[Right, ...]] = {
    commands.Create: (Right.CREATE,),
    commands.Join: (Right.CREATE,),
    commands.Append: (Right.UPDATE,),
    commands.Get: (Right.GET, Right.GET_ANY),
    commands.Watch: (Right.GET, Right.GET_ANY),
    commands.Read: (Right.GET,),
    commands.Retry: (Right.UPDATE,),
    commands.GetReceipt: (Right.GET,),
    commands.Cancel: (Right.DELETE, Right.CANCEL_ANY),
    commands.List: (Right.LIST,),
    commands.ListStores: (Right.LIST,),
    commands.IssueTicket: (Right.UPDATE,),
    commands.RevokeTickets: (Right.UPDATE,),
}


class Authorization:
    """Decides on commands and uploads. `clock` gives seconds since the epoch."""

    def __init__(self, uploads: UploadRecords, locks: WriteLocks, clock: Callable[[], float]) -> None:
        self._uploads = uploads
        self._locks = locks
        self._clock = clock

    def check(self, command: Command, identity: Identity) -> None:
        """Refused: FORBIDDEN for a command that a ticket does not open, or that policy does not allow."""
        if identity.scope is not None and not isinstance(command, WITH_A_TICKET):
            sentence = "A ticket sends, shows and cancels its upload, and no more. Use a Keystone token for this."
            raise Refused(Reason.FORBIDDEN, sentence)
        all_projects = isinstance(command, commands.List) and command.all_projects
        needed = (Right.LIST_ALL,) if all_projects else RIGHTS[type(command)]
        if not identity.allowed.intersection(needed):
            sentence = f"The policy of this cloud does not allow this ({needed[0]}) with your roles."
            raise Refused(Reason.FORBIDDEN, sentence)
        if identity.system and OWN.issuperset(needed):
            raise Refused(Reason.FORBIDDEN, "The token belongs to no project. Get one that is scoped to a project.")

    async def get(self, upload_id: str, identity: Identity, of_others: Right | None = None) -> Upload:
        """Return an upload; that of another owner only with the right `of_others`.

        Raises:
            Refused: UNKNOWN_UPLOAD, TICKET_EXPIRED.
        """
        upload = await self._uploads.get(upload_id)
        if upload is not None and self.is_expired(upload):  # or the clock was set since it was read: so once more
            upload = await self._uploads.get(upload_id)
        return self.reached(upload, identity, of_others)

    def reached(self, upload: Upload | None, identity: Identity, of_others: Right | None = None) -> Upload:
        """Return an upload that was read, if the caller reaches it. Refused as get()."""
        scope = identity.scope
        foreign = upload is not None and upload.owner != identity.owner and of_others not in identity.allowed
        if upload is None or foreign or (scope is not None and scope.upload_id != upload.id):
            raise Refused(Reason.UNKNOWN_UPLOAD, "There is no such upload.")
        if scope is not None and scope.generation != upload.generation:
            raise ticket_expired("This ticket was revoked.")
        return self.seen(upload)

    def seen(self, upload: Upload) -> Upload:
        """Return an upload as its owner sees it: expired, even if it has not been cleaned up yet."""
        return dataclasses.replace(upload, state=State.EXPIRED) if self.is_expired(upload) else upload

    def is_expired(self, upload: Upload) -> bool:
        """Whether an upload's time is over, and nobody is sending to it right now."""
        return expired(upload, self._clock()) and not self._locks.held(upload.id)
