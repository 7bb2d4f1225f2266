"""Tickets: what opens one upload and nothing else, for as long as it says, unless it was revoked."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
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
from tests.contracts import check_authenticator
from tests.support import tus_wire
from tests.support.launcher import ProjectGate, token
from tests.support.rig import CONTENT, IMAGE, SIZE, Pieces, Rig, Waiting, refusal, rig
from tests.support.service import Service, development
from tests.support.wire import Client, bearer, reason

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


def test_a_ticket_is_not_shown_by_what_carries_it(key_file: Path) -> None:
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
def test_whatever_is_shown_is_a_ticket_or_refused(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert refused(tickets(tmp_path_factory.getbasetemp() / "fuzzed.key"), text) is Reason.UNAUTHENTICATED


def test_a_ticket_of_another_service_is_none(tmp_path: Path) -> None:
    ticket = tickets(tmp_path / "theirs").issue(upload())
    assert refused(tickets(tmp_path / "ours"), ticket.value) is Reason.UNAUTHENTICATED


# Keys


def rotate(key_file: Path) -> None:
    key_file.write_text(f"{Fernet.generate_key().decode()}\n{key_file.read_text()}")


def test_a_new_key_signs_and_the_old_one_is_believed_until_it_is_taken_away(key_file: Path) -> None:
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
    vault = TokenCipher(key_file)
    ours, others = vault.derive_keys("tickets"), vault.derive_keys("something else")
    assert ours == TokenCipher(key_file).derive_keys("tickets")
    assert len({*ours, *others, *vault._secrets}) == 6
    assert {len(each) for each in ours} == {32}


# The gate


def test_the_gate_keeps_the_contract_with_a_ticket_and_with_a_token(key_file: Path) -> None:
    made = Tickets(TokenCipher(key_file), LIFETIME)
    gate = TicketAuthenticator(made, ProjectGate())
    good = {"authorization": f"Bearer {made.issue(upload()).value}"}
    over = Tickets(TokenCipher(key_file), -1).issue(upload()).value
    bad = [{}, {"authorization": "Bearer"}, {"authorization": "Bearer x"}, {"authorization": f"Basic {over}"}]
    asyncio.run(check_authenticator(gate, good, [*bad, {"authorization": f"Bearer {over}"}]))
    asyncio.run(check_authenticator(gate, {"x-auth-token": token("ada")["X-Auth-Token"]}, bad))


def test_who_shows_both_is_admitted_by_the_ticket_alone(key_file: Path) -> None:
    made = Tickets(TokenCipher(key_file), LIFETIME)
    headers = {"authorization": f"BEARER  {made.issue(upload()).value}", "x-auth-token": token("ada")["X-Auth-Token"]}
    assert asyncio.run(TicketAuthenticator(made, ProjectGate()).admit(headers)).scope == UploadScope(upload().id, 0)


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
    return here.vault.decrypt(await here.catalog.uploads.credential(upload_id))


@pytest.mark.parametrize(
    "command", [Append("", Chunk(0, 10), SIZE), Get(""), Cancel("")], ids=lambda c: type(c).__name__
)
def test_a_ticket_of_another_upload_is_told_what_is_told_of_one_that_does_not_exist(
    tmp_path: Path, command: Append | Get | Cancel
) -> None:
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


def test_a_chunk_that_runs_when_its_ticket_is_revoked_is_ended_with_its_bytes_kept(tmp_path: Path) -> None:
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


def test_nobody_but_the_owner_renews_or_revokes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id, _ = await created(here)
            for stranger in (Owner("other", "user"), Owner("project", "else")):
                for command in (IssueTicket(upload_id), RevokeTickets(upload_id)):
                    work = here.uploads.perform(command, Identity(stranger, "theirs"), Pieces())
                    assert await refusal(work) is Reason.UNKNOWN_UPLOAD
            assert await kept(here, upload_id) == OWNER.token

    asyncio.run(scenario())


def test_there_is_no_ticket_for_what_has_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id, holder = await created(here)
            await here.uploads.perform(Cancel(upload_id), holder, Pieces())
            assert await refusal(here.uploads.perform(IssueTicket(upload_id), OWNER, Pieces())) is Reason.CANCELLED
            assert await refusal(here.uploads.perform(Get(upload_id), holder, Pieces())) is Reason.CANCELLED

    asyncio.run(scenario())


# The owner's token stays


def test_who_seals_with_a_ticket_leaves_the_owners_token_for_the_handoff(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id, holder = await created(here)
            append, body = chunk(upload_id)
            await here.uploads.perform(append, holder, body)
            assert await kept(here, upload_id) == OWNER.token
            await here.uploads.perform(IssueTicket(upload_id), Identity(OWNER.owner, "a-fresh-token"), Pieces())
            assert await kept(here, upload_id) == "a-fresh-token"

    asyncio.run(scenario())


def test_a_handoff_that_waits_for_a_token_goes_on_when_the_owner_renews_and_not_when_a_ticket_asks(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id, holder = await created(here)
            append, body = chunk(upload_id)
            await here.uploads.perform(append, holder, body)
            trouble, later = LastError(FailureReason.TOKEN_EXPIRED, "A sentence."), here.now + 30
            await here.catalog.uploads.transition(upload_id, Event.STARTED, here.now, attempts=1)
            changes = {"last_error": trouble, "next_attempt_at": later}
            await here.catalog.uploads.transition(upload_id, Event.POSTPONED, here.now, **changes)
            await here.uploads.perform(Get(upload_id), holder, Pieces())
            waiting = await here.catalog.uploads.get(upload_id)
            assert waiting is not None
            assert (waiting.delivery.next_attempt_at, await kept(here, upload_id)) == (later, OWNER.token)
            await here.uploads.perform(IssueTicket(upload_id), Identity(OWNER.owner, "a-fresh-token"), Pieces())
            assert await kept(here, upload_id) == "a-fresh-token"
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


# Over HTTP


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service at whose gate one has to say who one is."""
    origin = {"cors": {"allowed_origin": "https://horizon.example"}}
    service = development(tmp_path_factory.mktemp("service"), origin)
    service.module = "tests.support.launcher"
    with service:
        yield service


@pytest.fixture
def ada(served: Service) -> Client:
    return Client(served.url, token("ada"))


def ticketed(ada: Client, size: int = SIZE) -> tuple[str, Client]:
    """A new upload's URL, and somebody who has nothing but its ticket."""
    answer = ada.create(size)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"], Client(ada.url, bearer(answer.json()["ticket"]["value"]))


def test_an_upload_is_done_in_every_dialect_with_nothing_but_its_ticket(ada: Client) -> None:
    url, holder = ticketed(ada)
    assert holder.send(url, CONTENT, 0, 1000).status_code == 204
    tus = url.replace("/v1/uploads/", "/v1/tus/")
    assert tus_wire.offset(holder, tus) == 1000
    assert tus_wire.send(holder, tus, 1000, CONTENT[1000:2000]).status_code == 204
    rufh = url.replace("/v1/uploads/", "/v1/rufh/")
    assert holder.request("HEAD", rufh).headers["Upload-Offset"] == "2000"
    last = {"Upload-Offset": "2000", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}
    assert holder.request("PATCH", rufh, last, data=CONTENT[2000:]).status_code == 201
    assert holder.wait(url, "active")["image"]["id"]


@pytest.mark.parametrize("path", ["/v1/uploads/", "/v1/tus/", "/v1/rufh/"])
def test_a_ticket_cancels_its_upload_in_every_dialect(ada: Client, path: str) -> None:
    url, holder = ticketed(ada)
    assert holder.request("DELETE", url.replace("/v1/uploads/", path), tus_wire.TUS).status_code == 204
    assert reason(ada.request("GET", url)) == "upload-cancelled"


def test_what_is_no_ticket_any_more_is_401_in_every_dialect(ada: Client) -> None:
    url, holder = ticketed(ada)
    assert ada.request("DELETE", f"{url}/ticket").status_code == 204
    for path in ("/v1/uploads/", "/v1/tus/", "/v1/rufh/"):
        answer = holder.request(
            "GET" if "tus" not in path else "DELETE", url.replace("/v1/uploads/", path), tus_wire.TUS
        )
        assert (answer.status_code, reason(answer)) == (401, "ticket-expired")
        assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    nonsense = Client(ada.url, bearer("nonsense")).request("GET", url)
    assert (nonsense.status_code, reason(nonsense)) == (401, "unauthenticated")


def test_a_fresh_ticket_goes_on(ada: Client) -> None:
    url, old = ticketed(ada)
    ada.request("DELETE", f"{url}/ticket")
    answer = ada.request("POST", f"{url}/ticket")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    assert Client(ada.url, bearer(answer.json()["value"])).send(url, CONTENT, 0, SIZE).status_code == 204
    for method in ("POST", "DELETE"):
        assert reason(old.request(method, f"{url}/ticket")) == "forbidden"
    assert reason(Client(ada.url, token("bob")).request("POST", f"{url}/ticket")) == "unknown-upload"


def test_a_page_of_an_allowed_origin_may_send_a_ticket_and_learn_that_it_has_expired(ada: Client) -> None:
    url, _ = ticketed(ada)
    origin = {"Origin": "https://horizon.example"}
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,content-range"}
    preflight = requests.options(url, headers={**origin, **asked}, timeout=10)
    assert preflight.ok
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    refused = requests.get(url, headers={**origin, **bearer("x")}, timeout=10)
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://horizon.example"
    assert "WWW-Authenticate" in refused.headers["Access-Control-Expose-Headers"]


def test_no_ticket_is_written_to_disk_or_log(served: Service, ada: Client) -> None:
    url, holder = ticketed(ada)
    value = holder.headers["Authorization"].removeprefix("Bearer ")
    holder.send(url, CONTENT, 0, SIZE)
    holder.request("GET", f"{ada.url}/v1/uploads")  # refused
    holder.wait(url, "active")
    signature = value.rpartition(".")[2].encode()
    for path in served.directory.rglob("*"):
        assert not (path.is_file() and signature in path.read_bytes()), path


def test_in_development_a_ticket_is_given_and_taken(tmp_path: Path) -> None:
    with development(tmp_path) as service:
        anyone = Client(service.url)
        url, holder = ticketed(anyone)
        other, _ = ticketed(anyone)
        assert reason(holder.request("GET", other)) == "unknown-upload"
        assert holder.send(url, random.Random(1).randbytes(SIZE), 0, SIZE).status_code == 204
        assert holder.wait(url, "active")
