"""Authorization of commands, and access to uploads.

An upload that a caller has no access to looks like one that does not exist.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from resumable_glance.auth.base import OWN, Identity, Right
from resumable_glance.auth.tickets import ticket_expired
from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.errors import Reason, Refused
from resumable_glance.model import commands
from resumable_glance.model.states import State
from resumable_glance.model.upload import Upload, expired
from resumable_glance.uploads.write_locks import WriteLocks

TICKET_COMMANDS = (commands.Append, commands.Get, commands.Watch, commands.GetReceipt, commands.Cancel)
# The rights that allow each command. Where there are two, the second one extends to uploads of other owners.
RIGHTS: Mapping[type[commands.Command], tuple[Right, ...]] = {
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


@dataclasses.dataclass(frozen=True)
class Authorization:
    """Checks commands and access to uploads. `clock` gives seconds since the epoch."""

    uploads: UploadRecords
    locks: WriteLocks
    clock: Callable[[], float]

    def check(self, command: commands.Command, identity: Identity) -> None:
        """Raise Refused(FORBIDDEN) if a command is not allowed."""
        if identity.scope is not None and not isinstance(command, TICKET_COMMANDS):
            sentence = "A ticket only allows to send, show and cancel its upload. Use a Keystone token for this."
            raise Refused(Reason.FORBIDDEN, sentence)
        all_projects = isinstance(command, commands.List) and command.all_projects
        needed = (Right.LIST_ALL,) if all_projects else RIGHTS[type(command)]
        if not identity.allowed.intersection(needed):
            sentence = f"The policy of this cloud does not allow {needed[0]} with your roles."
            raise Refused(Reason.FORBIDDEN, sentence)
        if identity.system and OWN.issuperset(needed):
            raise Refused(Reason.FORBIDDEN, "The token has no project. Use a token that is scoped to a project.")

    async def get(self, upload_id: str, identity: Identity, of_others: Right | None = None) -> Upload:
        """Return an upload; one of another owner only with the right `of_others`.

        Raises Refused: UNKNOWN_UPLOAD, TICKET_EXPIRED.
        """
        upload = await self.uploads.get(upload_id)
        if upload is not None and self.is_expired(upload):  # read again, in case the clock was set in between
            upload = await self.uploads.get(upload_id)
        return self.accessible(upload, identity, of_others)

    def accessible(self, upload: Upload | None, identity: Identity, of_others: Right | None = None) -> Upload:
        """Return an upload that was read before, if the caller has access to it. Raises Refused as get()."""
        scope = identity.scope
        foreign = upload is not None and upload.owner != identity.owner and of_others not in identity.allowed
        if upload is None or foreign or (scope is not None and scope.upload_id != upload.id):
            raise Refused(Reason.UNKNOWN_UPLOAD, "There is no such upload.")
        if scope is not None and scope.generation != upload.generation:
            raise ticket_expired("This ticket was revoked.")
        return self.effective(upload)

    def effective(self, upload: Upload) -> Upload:
        """Return an upload as expired if it is, even before its cleanup."""
        return dataclasses.replace(upload, state=State.EXPIRED) if self.is_expired(upload) else upload

    def is_expired(self, upload: Upload) -> bool:
        """Return whether an upload has expired, and no request is writing to it."""
        return expired(upload, self.clock()) and not self.locks.held(upload.id)
