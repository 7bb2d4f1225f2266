"""Tickets: each opens one upload, until its end or its revocation."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.auth.base import Identity, UploadScope
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.tickets import MAX_LENGTH, RIGHTS, TicketAuthenticator, Tickets
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import (
    Append,
    Cancel,
    Chunk,
    Command,
    Create,
    Created,
    Get,
    IssueTicket,
    Join,
    List,
    Read,
    RevokeTickets,
    TicketIssued,
)
from resumable_glance.model.states import Event, State
from resumable_glance.model.upload import FailureReason, LastError, Owner, Upload
from tests.support.launcher import ProjectAuthenticator, token
from tests.support.rig import CONTENT, IMAGE, SIZE, Pieces, Rig, Waiting, refusal, rig

LIFETIME = 3600
OWNER = Identity(Owner("project", "user"), token="a-token-of-the-owner")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


def upload(number: int = 1, generation: int = 0) -> Upload:
    return Upload(f"a-{number:032x}", OWNER.owner, 10, State.RECEIVING, None, 0.0, 0.0, 0.0, generation=generation)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "credentials.key"


def tickets(key_file: Path, clock: Clock | None = None) -> Tickets:
    return Tickets(TokenCipher(key_file), LIFETIME, clock or Clock())


def refused(work: Tickets, value: str) -> Reason:
    with pytest.raises(Refused) as refusal:
        work.read(value)
    return refusal.value.reason


# What a ticket says


def test_a_ticket_is_its_upload_owner_generation_and_end(key_file: Path) -> None:
    clock = Clock()
    ticket = tickets(key_file, clock).issue(upload(7, generation=3))
    assert ticket.expires_at == clock.now + LIFETIME
    identity = tickets(key_file, clock).read(ticket.value)  # of another start of the service
    assert identity == Identity(OWNER.owner, None, clock.now + LIFETIME, UploadScope(upload(7).id, 3), allowed=RIGHTS)


def test_a_ticket_is_good_until_its_end_and_not_then(key_file: Path) -> None:
    clock = Clock()
    made = tickets(key_file, clock)
    ticket = made.issue(upload())
    clock.now += LIFETIME - 1
    made.read(ticket.value)
    clock.now += 1
    assert refused(made, ticket.value) is Reason.TICKET_EXPIRED


def test_a_ticket_is_not_shown_in_a_repr(key_file: Path) -> None:
    ticket = tickets(key_file).issue(upload())
    assert ticket.value not in f"{ticket!r} {tickets(key_file).read(ticket.value)!r}"


def test_a_ticket_of_the_longest_names_is_one(key_file: Path) -> None:
    long = Upload(f"{'z' * 16}-{'0' * 32}", Owner("p" * 64, "u" * 64), 1, State.RECEIVING, None, 0.0, 0.0, 0.0)
    made = tickets(key_file)
    assert made.read(made.issue(long).value).owner == long.owner


# What is none


def test_a_changed_ticket_says_nothing_else(key_file: Path) -> None:
    made = tickets(key_file)
    value = made.issue(upload()).value
    good = made.read(value)
    for at in range(len(value)):
        for other in ("A", "b", ".", "-"):
            try:
                read = made.read(value[:at] + other + value[at + 1 :])
            except Refused as refusal:
                assert refusal.reason is Reason.UNAUTHENTICATED
            else:  # it was that character, or base64 has bits that count for nothing
                assert read == good


@settings(deadline=None, max_examples=300)
@given(text=st.text(st.characters(max_codepoint=255), max_size=MAX_LENGTH + 10))
def test_any_text_is_a_ticket_or_refused(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert refused(tickets(tmp_path_factory.getbasetemp() / "fuzzed.key"), text) is Reason.UNAUTHENTICATED


def test_a_ticket_of_another_service_is_none(tmp_path: Path) -> None:
    ticket = tickets(tmp_path / "theirs").issue(upload())
    assert refused(tickets(tmp_path / "ours"), ticket.value) is Reason.UNAUTHENTICATED


# Keys


def rotate(key_file: Path) -> None:
    key_file.write_text(f"{Fernet.generate_key().decode()}\n{key_file.read_text()}")


def test_a_new_key_signs_and_the_old_one_still_verifies(key_file: Path) -> None:
    before = tickets(key_file).issue(upload())
    rotate(key_file)
    after = tickets(key_file).issue(upload())
    assert tickets(key_file).read(before.value) == tickets(key_file).read(after.value)
    key_file.write_text(key_file.read_text().split()[0])
    tickets(key_file).read(after.value)
    assert refused(tickets(key_file), before.value) is Reason.UNAUTHENTICATED


def test_keys_for_one_purpose_are_those_of_no_other(key_file: Path) -> None:
    TokenCipher(key_file)
    rotate(key_file)
    cipher = TokenCipher(key_file)
    ours, others = cipher.derive_keys("tickets"), cipher.derive_keys("something else")
    assert ours == TokenCipher(key_file).derive_keys("tickets")
    assert len({*ours, *others, *cipher._secrets}) == 6
    assert {len(each) for each in ours} == {32}


def test_a_ticket_beside_a_token_counts_alone(key_file: Path) -> None:
    made = Tickets(TokenCipher(key_file), LIFETIME)
    headers = {"authorization": f"BEARER  {made.issue(upload()).value}", "x-auth-token": token("ada")["X-Auth-Token"]}
    assert asyncio.run(TicketAuthenticator(made, ProjectAuthenticator()).admit(headers)).scope == UploadScope(
        upload().id, 0
    )


# What it opens


async def created(here: Rig, owner: Identity = OWNER) -> tuple[str, Identity]:
    """An upload, and whoever has the ticket for it."""
    outcome = await here.uploads.perform(Create(SIZE, IMAGE), owner, Pieces())
    assert isinstance(outcome, Created)
    return outcome.upload.id, here.core.tickets.read(outcome.ticket.value)


def chunk(upload_id: str, start: int = 0, stop: int = SIZE) -> tuple[Append, Pieces]:
    return Append(upload_id, Chunk(start, stop - start), SIZE), Pieces(CONTENT[start:stop])


async def kept(here: Rig, upload_id: str) -> str | None:
    """The token that is kept for an upload."""
    credential = await here.catalog.uploads.credential(upload_id)
    return None if credential is None else here.cipher.decrypt(credential.ciphertext)


@pytest.mark.parametrize(
    "command", [Append("", Chunk(0, 10), SIZE), Get(""), Cancel("")], ids=lambda c: type(c).__name__
)
def test_a_ticket_of_another_upload_is_answered_as_unknown(tmp_path: Path, command: Append | Get | Cancel) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            (_, holder), (other, _) = await created(here), await created(here)
            told = []
            for upload_id in (other, f"a-{0:032x}"):
                with pytest.raises(Refused) as refusal:
                    await here.uploads.perform(dataclasses.replace(command, upload_id=upload_id), holder, Pieces())
                told.append((refusal.value.reason, refusal.value.detail, refusal.value.facts))
            assert told[0] == told[1]
            assert told[0][0] is Reason.UNKNOWN_UPLOAD
            assert (await here.catalog.uploads.get(other)).state is State.RECEIVING  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_a_ticket_opens_nothing_that_only_a_token_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            mine, holder = await created(here)
            other, _ = await created(here)
            commands: list[Command] = [Create(1, IMAGE), Create(1, None), List(10), Join((mine,), IMAGE)]
            commands += [
                kind(each) for kind in (Read, IssueTicket, RevokeTickets) for each in (mine, other, "a-" + 32 * "0")
            ]
            for command in commands:
                assert await refusal(here.uploads.perform(command, holder, Pieces())) is Reason.FORBIDDEN
            assert (await here.catalog.uploads.get(mine)).generation == 0  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_revoked_tickets_open_nothing_and_a_new_one_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id, holder = await created(here)
            other, unharmed = await created(here)
            append, body = chunk(upload_id, 0, 100)
            await here.uploads.perform(append, holder, body)
            await here.uploads.perform(RevokeTickets(upload_id), OWNER, Pieces())
            for command in (Get(upload_id), chunk(upload_id)[0], Cancel(upload_id)):
                assert await refusal(here.uploads.perform(command, holder, Pieces())) is Reason.TICKET_EXPIRED
            await here.uploads.perform(Get(other), unharmed, Pieces())
            renewed = await here.uploads.perform(IssueTicket(upload_id), OWNER, Pieces())
            assert isinstance(renewed, TicketIssued)
            again = here.core.tickets.read(renewed.ticket.value)
            append, body = chunk(upload_id)
            await here.uploads.perform(append, again, body)
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_a_revocation_ends_a_running_chunk_and_keeps_its_bytes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id, holder = await created(here)
            body = Waiting(CONTENT[:1000])
            running = asyncio.create_task(here.uploads.perform(chunk(upload_id)[0], holder, body))
            await asyncio.wait_for(body.waits.wait(), 10)
            await here.uploads.perform(RevokeTickets(upload_id), OWNER, Pieces())
            assert await refusal(asyncio.wait_for(running, 10)) is Reason.TICKET_EXPIRED
            assert (await here.catalog.uploads.get(upload_id)).offset == 1000  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_only_the_owner_renews_or_revokes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id, _ = await created(here)
            for stranger in (Owner("other", "user"), Owner("project", "else")):
                for command in (IssueTicket(upload_id), RevokeTickets(upload_id)):
                    work = here.uploads.perform(command, Identity(stranger, "theirs"), Pieces())
                    assert await refusal(work) is Reason.UNKNOWN_UPLOAD
            assert await kept(here, upload_id) == OWNER.token

    asyncio.run(scenario())


def test_an_ended_upload_has_no_ticket(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id, holder = await created(here)
            await here.uploads.perform(Cancel(upload_id), holder, Pieces())
            assert await refusal(here.uploads.perform(IssueTicket(upload_id), OWNER, Pieces())) is Reason.CANCELLED
            assert await refusal(here.uploads.perform(Get(upload_id), holder, Pieces())) is Reason.CANCELLED

    asyncio.run(scenario())


# The owner's token stays


def test_a_ticket_that_seals_leaves_the_owners_token(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id, holder = await created(here)
            append, body = chunk(upload_id)
            await here.uploads.perform(append, holder, body)
            assert await kept(here, upload_id) == OWNER.token
            await here.uploads.perform(IssueTicket(upload_id), Identity(OWNER.owner, "a-fresh-token"), Pieces())
            assert await kept(here, upload_id) == "a-fresh-token"

    asyncio.run(scenario())


def test_only_the_owner_ends_a_handoffs_wait_for_a_token(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id, holder = await created(here)
            append, body = chunk(upload_id)
            await here.uploads.perform(append, holder, body)
            trouble, later = LastError(FailureReason.TOKEN_EXPIRED, "A sentence."), here.now + 30
            await here.catalog.uploads.transition(upload_id, Event.STARTED, here.now, attempts=1)
            changes: dict[str, Any] = {"last_error": trouble, "next_attempt_at": later}
            await here.catalog.uploads.transition(upload_id, Event.POSTPONED, here.now, **changes)
            await here.uploads.perform(Get(upload_id), holder, Pieces())
            waiting = await here.catalog.uploads.get(upload_id)
            assert waiting is not None
            assert (waiting.delivery.next_attempt_at, await kept(here, upload_id)) == (later, OWNER.token)
            await here.uploads.perform(IssueTicket(upload_id), Identity(OWNER.owner, "a-fresh-token"), Pieces())
            assert await kept(here, upload_id) == "a-fresh-token"
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())
