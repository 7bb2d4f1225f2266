"""Every gate keeps the family's contract, and the check of it notices whoever does not.

The real Keystone is asked in test_cloud.py. Here a stand-in for keystoneauth1's session shows what a real one can't be
made to show on demand: that it is down or broken, how often it is asked, and clocks that have moved on.
"""

import asyncio
import datetime
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from keystoneauth1 import exceptions
from keystoneauth1.session import Session

from resumable_glance.auth.base import Authenticator, Identity, Right, UploadScope
from resumable_glance.auth.keystone import MAX_TOKEN_LENGTH, KeystoneAuthenticator
from resumable_glance.auth.noauth import NoAuthenticator
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.upload import Owner
from tests.contracts import BrokenPromise, check_authenticator
from tests.support import launcher

TOKEN = "gAAAAA-a-good-token"
GOOD = {"x-auth-token": TOKEN}
FAR = 4_000_000_000.0  # seconds since the epoch
SCOPED = {
    "project": {"id": "p1", "name": "demo"},
    "user": {"id": "u1", "name": "alice"},
    "roles": [{"id": "r1", "name": "member"}, {"id": "r2", "name": "reader"}],
}


def shown(moment: float) -> str:
    """As Keystone writes it."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="microseconds")[:-6] + "Z"


class Answer:
    def __init__(self, status_code: int, document: object = None) -> None:
        self.status_code = status_code
        self._document = document

    def json(self) -> object:
        if self._document is None:
            raise ValueError("this is not JSON")
        return self._document


class Keystone:
    """Knows one good token, or answers each question by `answer`."""

    def __init__(self, expires_at: float = FAR, **token: object) -> None:
        self.questions: list[str] = []
        self.answer: Callable[[str], Answer] | None = None
        self.token: dict[str, object] = {**SCOPED, "expires_at": shown(expires_at), **token}
        self.threads: set[int] = set()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def get(self, url: str, *, headers: Mapping[str, str], raise_exc: bool, **_: object) -> Answer:
        assert url.startswith("/auth/tokens")
        assert not raise_exc
        token = headers["X-Subject-Token"]
        self.questions.append(token)
        self.threads.add(threading.get_ident())
        assert self.may_answer.wait(10)
        if self.answer is not None:
            return self.answer(token)
        return Answer(200, {"token": self.token}) if token == TOKEN else Answer(404, {"error": {}})


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def gate(
    keystone: Keystone, cache_time: float = 60.0, clock: Callable[[], float] | None = None
) -> KeystoneAuthenticator:
    return KeystoneAuthenticator(cast(Session, keystone), cache_time, clock or Clock())


def admitted(gate: Authenticator, headers: Mapping[str, str] = GOOD) -> Identity:
    return asyncio.run(cast(Any, gate).admit(headers))  # type: ignore[no-any-return]


def reason(gate: Authenticator, headers: Mapping[str, str] = GOOD) -> Reason:
    with pytest.raises(Refused) as refused:
        admitted(gate, headers)
    return refused.value.reason


def test_the_open_gate_keeps_the_contract() -> None:
    asyncio.run(check_authenticator(NoAuthenticator(), {}))


def test_the_keystone_gate_keeps_the_contract() -> None:
    bad: list[dict[str, str]] = [{}, {"x-auth-token": ""}, {"x-auth-token": "stolen"}, {"authorization": TOKEN}]
    asyncio.run(check_authenticator(gate(Keystone()), GOOD, bad))


def test_the_gate_of_many_projects_keeps_the_contract() -> None:
    bad = [{}, {"x-auth-token": ""}, {"x-auth-token": "ada"}, _small(launcher.token(""))]
    asyncio.run(check_authenticator(launcher.ProjectGate(), _small(launcher.token("ada")), bad))


def _small(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


# What the check of the contract must notice


class AdmitsEverybody(NoAuthenticator):
    pass


class RefusesEverybody(NoAuthenticator):
    async def admit(self, headers: Mapping[str, str]) -> Identity:
        raise Refused(Reason.UNAUTHENTICATED, "No.")


class RefusesForTheWrongReason(NoAuthenticator):
    async def admit(self, headers: Mapping[str, str]) -> Identity:
        if headers != GOOD:
            raise Refused(Reason.INTERNAL, "No.")
        return await super().admit(headers)


class CrashesOnStrangers(NoAuthenticator):
    async def admit(self, headers: Mapping[str, str]) -> Identity:
        return await super().admit({"x": headers["x-auth-token"]})


class RemembersRefusalsAsAdmissions(NoAuthenticator):
    def __init__(self) -> None:
        self.seen: list[Mapping[str, str]] = [GOOD]

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        if headers not in self.seen:
            self.seen.append(headers)
            raise Refused(Reason.UNAUTHENTICATED, "Not yet.")
        return await super().admit(headers)


class Strict(NoAuthenticator):
    identity = Identity(Owner("p", "u"))

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        if headers != GOOD:
            raise Refused(Reason.UNAUTHENTICATED, "No.")
        return self.identity


class HasNoProject(Strict):
    identity = Identity(Owner("", "u"))


class HasNoUser(Strict):
    identity = Identity(Owner("p", ""))


class AdmitsWhoseTimeIsOver(Strict):
    identity = Identity(Owner("p", "u"), expires_at=1.0)


class ShowsTheToken(Strict):
    identity = Identity(Owner(TOKEN, "u"), TOKEN)


class OpensNoUploadByATicket(Strict):
    identity = Identity(Owner("p", "u"), scope=UploadScope("", 0))


class TakesATokenForATicket(Strict):
    identity = Identity(Owner("p", "u"), "secret", scope=UploadScope("a-1", 0))


class MixesUpParallelRequests(Strict):
    running = 0

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        await super().admit(headers)
        self.running += 1
        await asyncio.sleep(0)
        running, self.running = self.running, 0
        return Identity(Owner("p", f"u{running}"))


class TakesTheTokenOutOfTheHeaders(Strict):
    async def admit(self, headers: Mapping[str, str]) -> Identity:
        found = await super().admit(headers)
        cast(dict[str, str], headers).pop("x-auth-token")
        return found


@pytest.mark.parametrize(
    "saboteur",
    [
        AdmitsEverybody,
        RefusesForTheWrongReason,
        CrashesOnStrangers,
        RemembersRefusalsAsAdmissions,
        HasNoProject,
        HasNoUser,
        AdmitsWhoseTimeIsOver,
        ShowsTheToken,
        OpensNoUploadByATicket,
        TakesATokenForATicket,
        MixesUpParallelRequests,
        TakesTheTokenOutOfTheHeaders,
    ],
)
def test_the_check_notices_a_gate_that_breaks_its_word(saboteur: type[NoAuthenticator]) -> None:
    with pytest.raises(BrokenPromise):
        asyncio.run(check_authenticator(saboteur(), GOOD, [{"x-auth-token": "stolen"}, {}]))


def test_the_check_does_not_hide_why_a_good_request_was_refused() -> None:
    with pytest.raises(Refused):
        asyncio.run(check_authenticator(RefusesEverybody(), GOOD))


# Keystone


def test_an_identity_is_the_tokens_project_and_user_and_end() -> None:
    identity = admitted(gate(Keystone(expires_at=1_700_003_600.0)))
    assert identity == Identity(Owner("p1", "u1"), TOKEN, 1_700_003_600.0, roles=("member", "reader"))


def test_keystone_is_asked_in_a_thread() -> None:
    keystone = Keystone()
    admitted(gate(keystone))
    assert threading.get_ident() not in keystone.threads


def test_an_identity_never_shows_its_token() -> None:
    identity = admitted(gate(Keystone()))
    assert identity.token == TOKEN
    assert TOKEN not in f"{identity!r} {identity}"


def test_a_token_that_keystone_does_not_know_is_not_authenticated() -> None:
    assert reason(gate(Keystone()), {"x-auth-token": "stolen"}) is Reason.UNAUTHENTICATED


@pytest.mark.parametrize("token", ["", "é", "a\nb", "a\0b", "\x7f", "a" * (MAX_TOKEN_LENGTH + 1)])
def test_what_is_no_token_is_refused_without_asking_keystone(token: str) -> None:
    keystone = Keystone()
    assert reason(gate(keystone), {"x-auth-token": token}) is Reason.UNAUTHENTICATED
    assert keystone.questions == []


def test_a_request_without_a_token_is_refused_without_asking_keystone() -> None:
    keystone = Keystone()
    assert reason(gate(keystone), {}) is Reason.UNAUTHENTICATED
    assert keystone.questions == []


@pytest.mark.parametrize("scope", [{}, {"domain": {"id": "default"}}])
def test_a_token_that_belongs_to_no_project_is_forbidden(scope: dict[str, object]) -> None:
    keystone = Keystone()
    keystone.token = {key: value for key, value in keystone.token.items() if key != "project"} | scope
    assert reason(gate(keystone)) is Reason.FORBIDDEN


def test_a_token_for_the_whole_cloud_is_of_no_project() -> None:
    keystone = Keystone()
    del keystone.token["project"]
    keystone.token["system"] = {"all": True}
    asked = gate(keystone)
    asyncio.run(check_authenticator(asked, GOOD, [{}]))
    assert admitted(asked) == Identity(Owner("", "u1"), TOKEN, FAR, roles=("member", "reader"), system=True)


def test_what_somebody_may_do_is_asked_once_for_a_token() -> None:
    asked: list[Identity] = []

    def rights(identity: Identity) -> frozenset[Right]:
        asked.append(identity)
        return frozenset({Right.GET})

    found = KeystoneAuthenticator(cast(Session, Keystone()), 60.0, Clock(), rights)
    assert admitted(found).allowed == admitted(found).allowed == {Right.GET}
    assert [each.roles for each in asked] == [("member", "reader")]


@pytest.mark.parametrize("status", [300, 400, 401, 403, 429, 500, 502, 503])
def test_a_keystone_that_does_not_answer_the_question_is_not_the_clients_fault(status: int) -> None:
    keystone = Keystone()
    keystone.answer = lambda _: Answer(status, {"error": {}})
    assert reason(gate(keystone)) is Reason.IDENTITY_UNAVAILABLE


@pytest.mark.parametrize("problem", [exceptions.ConnectFailure, exceptions.Unauthorized, exceptions.EndpointNotFound])
def test_a_keystone_that_cannot_be_asked_is_not_the_clients_fault(problem: type[Exception]) -> None:
    def fails(_: str) -> Answer:
        raise problem("no")

    keystone = Keystone()
    keystone.answer = fails
    assert reason(gate(keystone)) is Reason.IDENTITY_UNAVAILABLE


@pytest.mark.parametrize("document", [None, {}, {"token": None}, {"token": {**SCOPED, "expires_at": "soon"}}, []])
def test_an_answer_that_is_not_keystones_admits_nobody_and_is_not_the_clients_fault(document: object) -> None:
    """A proxy in front of Keystone says 200 with a page of its own."""
    keystone = Keystone()
    keystone.answer = lambda _: Answer(200, document)
    assert reason(gate(keystone)) is Reason.IDENTITY_UNAVAILABLE


def test_keystones_word_is_kept_for_the_time_that_was_set_and_no_longer() -> None:
    keystone, clock = Keystone(), Clock()
    asked = gate(keystone, 60.0, clock)
    admitted(asked)
    clock.now += 59.9
    admitted(asked)
    assert len(keystone.questions) == 1
    clock.now += 0.2
    admitted(asked)
    assert len(keystone.questions) == 2


def test_being_used_does_not_keep_a_word_alive() -> None:
    keystone, clock = Keystone(), Clock()
    asked = gate(keystone, 60.0, clock)
    for _ in range(13):
        admitted(asked)
        clock.now += 10.0
    assert len(keystone.questions) == 3


def test_keystones_word_never_outlives_the_token() -> None:
    clock = Clock()
    keystone = Keystone(expires_at=clock.now + 10.0)
    asked = gate(keystone, 60.0, clock)
    admitted(asked)
    clock.now += 10.1
    keystone.answer = lambda _: Answer(404, {})
    assert reason(asked) is Reason.UNAUTHENTICATED


def test_nothing_is_kept_if_that_is_what_was_set() -> None:
    keystone = Keystone()
    asked = gate(keystone, 0.0)
    admitted(asked)
    admitted(asked)
    assert len(keystone.questions) == 2


def test_a_refusal_is_not_kept() -> None:
    keystone = Keystone()
    asked = gate(keystone)
    keystone.answer = lambda _: Answer(503)
    assert reason(asked) is Reason.IDENTITY_UNAVAILABLE
    keystone.answer = None
    assert admitted(asked).owner == Owner("p1", "u1")


def test_two_tokens_are_two_identities() -> None:
    keystone = Keystone()
    keystone.answer = lambda token: Answer(200, {"token": {**keystone.token, "user": {"id": f"user of {token}"}}})
    asked = gate(keystone)
    for token in ("one", "two", "one"):
        assert admitted(asked, {"x-auth-token": token}).owner.user_id == f"user of {token}"


def test_the_cache_does_not_hold_tokens_as_its_keys() -> None:
    asked = gate(Keystone())
    admitted(asked)
    assert all(TOKEN.encode() not in key for key in asked._cache)


def test_parallel_requests_with_a_new_token_ask_keystone_once() -> None:
    keystone = Keystone()
    keystone.may_answer.clear()
    asked = gate(keystone)

    async def scenario() -> set[Owner]:
        running = [asyncio.create_task(asked.admit(GOOD)) for _ in range(20)]
        await asyncio.sleep(0.05)
        keystone.may_answer.set()
        return {each.owner for each in await asyncio.gather(*running)}

    assert asyncio.run(scenario()) == {Owner("p1", "u1")}
    assert len(keystone.questions) == 1


def test_a_request_that_goes_away_does_not_take_the_others_with_it() -> None:
    keystone = Keystone()
    keystone.may_answer.clear()
    asked = gate(keystone)

    async def scenario() -> Identity:
        first, second = (asyncio.create_task(asked.admit(GOOD)) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.wait([first])
        keystone.may_answer.set()
        return await second

    assert asyncio.run(scenario()).owner == Owner("p1", "u1")
    assert len(keystone.questions) == 1


def test_parallel_requests_are_refused_together_and_the_next_one_asks_again() -> None:
    keystone = Keystone()
    keystone.answer = lambda _: Answer(503)
    asked = gate(keystone)

    async def scenario() -> list[object]:
        found = await asyncio.gather(*(asked.admit(GOOD) for _ in range(5)), return_exceptions=True)
        keystone.answer = None
        await asked.admit(GOOD)
        return [each.reason for each in found if isinstance(each, Refused)]

    assert asyncio.run(scenario()) == [Reason.IDENTITY_UNAVAILABLE] * 5
    assert len(keystone.questions) == 2


def test_a_keystone_that_hangs_holds_no_thread_that_scratch_needs() -> None:
    async def scenario() -> None:
        keystone = Keystone()
        keystone.may_answer.clear()
        asking = gate(keystone)
        asked = [asyncio.create_task(asking.admit({"x-auth-token": f"token-{each}"})) for each in range(50)]
        try:
            while not keystone.questions:
                await asyncio.sleep(0.01)
            async with asyncio.timeout(5):  # it hangs for 10
                assert await asyncio.to_thread(lambda: "done") == "done"
        finally:
            keystone.may_answer.set()
            await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(scenario())
