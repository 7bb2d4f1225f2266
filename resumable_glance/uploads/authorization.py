"""Who reaches which upload, and what they may ask of it.

Its one rule: whoever does not reach an upload can't tell it from one that does not exist.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from resumable_glance.auth.base import OWN, Identity, Right
from resumable_glance.auth.tickets import expired
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.errors import Reason, Refused
from resumable_glance.model import commands
from resumable_glance.model.commands import Append, Cancel, Command, Get, GetReceipt, Watch
from resumable_glance.model.states import State
from resumable_glance.model.upload import Upload, lapsed

WITH_A_TICKET = (Append, Get, Watch, GetReceipt, Cancel)
# What each command takes; where there are two, the second will do for the uploads of others, too.
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


class Access:
    """`clock` gives seconds since the epoch; `busy` tells whether somebody writes to an upload right now."""

    def __init__(self, catalog: Catalog, clock: Callable[[], float], busy: Callable[[str], bool]) -> None:
        self._catalog = catalog
        self._clock = clock
        self._busy = busy

    def check(self, command: Command, identity: Identity) -> None:
        """Refused: FORBIDDEN for what a ticket does not open, or policy does not allow, whatever upload it is of."""
        if identity.only is not None and not isinstance(command, WITH_A_TICKET):
            sentence = "A ticket sends, shows and cancels its upload, and no more. For this show a Keystone token."
            raise Refused(Reason.FORBIDDEN, sentence)
        all_projects = isinstance(command, commands.List) and command.all_projects
        needed = (Right.LIST_ALL,) if all_projects else RIGHTS[type(command)]
        if not identity.may.intersection(needed):
            sentence = f"The policy of this cloud does not let you do this ({needed[0]}). Which roles do you have?"
            raise Refused(Reason.FORBIDDEN, sentence)
        if identity.system and OWN.issuperset(needed):
            raise Refused(Reason.FORBIDDEN, "The token belongs to no project. Get one that is scoped to a project.")

    async def owned(self, upload_id: str, identity: Identity, beyond: Right | None = None) -> Upload:
        """The upload, which may be somebody else's for whoever has the right `beyond`.

        Refused: UNKNOWN_UPLOAD for whoever does not reach it, TICKET_EXPIRED.
        """
        upload = await self._catalog.get(upload_id)
        if upload is not None and self.gone(upload):  # or the clock was set since it was looked up: so once more
            upload = await self._catalog.get(upload_id)
        return self.reached(upload, identity, beyond)

    def reached(self, upload: Upload | None, identity: Identity, beyond: Right | None = None) -> Upload:
        """An upload that was looked up, if this identity reaches it. Refused as owned()."""
        only = identity.only
        stranger = upload is not None and upload.owner != identity.owner and beyond not in identity.may
        if upload is None or stranger or (only is not None and only.upload_id != upload.id):
            raise Refused(Reason.UNKNOWN_UPLOAD, "There is no such upload.")
        if only is not None and only.generation != upload.generation:
            raise expired("This ticket was revoked.")
        return self.seen(upload)

    def seen(self, upload: Upload) -> Upload:
        """An upload as its owner sees it: what tidy() has not reached yet has expired all the same."""
        return dataclasses.replace(upload, state=State.EXPIRED) if self.gone(upload) else upload

    def gone(self, upload: Upload) -> bool:
        return lapsed(upload, self._clock()) and not self._busy(upload.id)  # somebody is sending right now
