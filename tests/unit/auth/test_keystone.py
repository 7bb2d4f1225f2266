"""Tokens that Keystone is asked about: how often, and for how long its answer holds. The real one: openstack/."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any, cast

import pytest
from keystoneauth1 import exceptions
from keystoneauth1.session import Session

from resumable_glance.auth.base import Authenticator, Identity, Right
from resumable_glance.auth.keystone import MAX_THREADS, MAX_TOKEN_LENGTH, KeystoneAuthenticator
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.upload import Owner
from tests.contracts import check_authenticator
from tests.fakes.keystone import FAR, GOOD, SCOPED, TOKEN, Answer, Clock, Keystone, authenticator


def admitted(authenticator: Authenticator, headers: Mapping[str, str] = GOOD) -> Identity:
    return asyncio.run(cast(Any, authenticator).admit(headers))  # type: ignore[no-any-return]


def reason(authenticator: Authenticator, headers: Mapping[str, str] = GOOD) -> Reason:
    with pytest.raises(Refused) as refused:
        admitted(authenticator, headers)
    return refused.value.reason


def test_an_identity_is_the_tokens_project_and_user_and_end() -> None:
    identity = admitted(authenticator(Keystone(expires_at=1_700_003_600.0)))
    assert identity == Identity(Owner("p1", "u1"), TOKEN, 1_700_003_600.0, roles=("member", "reader"))


def test_keystone_is_asked_in_a_thread() -> None:
    keystone = Keystone()
    admitted(authenticator(keystone))
    assert threading.get_ident() not in keystone.threads


def test_an_identity_never_shows_its_token() -> None:
    identity = admitted(authenticator(Keystone()))
    assert identity.token == TOKEN
    assert TOKEN not in f"{identity!r} {identity}"


def test_an_unknown_token_is_not_authenticated() -> None:
    assert reason(authenticator(Keystone()), {"x-auth-token": "stolen"}) is Reason.UNAUTHENTICATED


@pytest.mark.parametrize("token", ["", "é", "a\nb", "a\0b", "\x7f", "a" * (MAX_TOKEN_LENGTH + 1)])
def test_a_malformed_token_is_refused_without_keystone(token: str) -> None:
    keystone = Keystone()
    assert reason(authenticator(keystone), {"x-auth-token": token}) is Reason.UNAUTHENTICATED
    assert keystone.questions == []


def test_a_missing_token_is_refused_without_keystone() -> None:
    keystone = Keystone()
    assert reason(authenticator(keystone), {}) is Reason.UNAUTHENTICATED
    assert keystone.questions == []


@pytest.mark.parametrize("scope", [{}, {"domain": {"id": "default"}}])
def test_a_token_that_belongs_to_no_project_is_forbidden(scope: dict[str, object]) -> None:
    keystone = Keystone()
    keystone.token = {key: value for key, value in keystone.token.items() if key != "project"} | scope
    assert reason(authenticator(keystone)) is Reason.FORBIDDEN


def test_a_token_for_the_whole_cloud_is_of_no_project() -> None:
    keystone = Keystone()
    del keystone.token["project"]
    keystone.token["system"] = {"all": True}
    asked = authenticator(keystone)
    asyncio.run(check_authenticator(asked, GOOD, [{}]))
    assert admitted(asked) == Identity(Owner("", "u1"), TOKEN, FAR, roles=("member", "reader"), system=True)


def test_the_rights_of_a_token_are_determined_once() -> None:
    asked: list[Identity] = []

    def rights(identity: Identity) -> frozenset[Right]:
        asked.append(identity)
        return frozenset({Right.GET})

    found = KeystoneAuthenticator(cast(Session, Keystone()), 60.0, Clock(), rights)
    assert admitted(found).allowed == admitted(found).allowed == {Right.GET}
    assert [each.roles for each in asked] == [("member", "reader")]


@pytest.mark.parametrize("status", [300, 400, 401, 403, 429, 500, 502, 503])
def test_an_error_of_keystone_is_not_the_clients_fault(status: int) -> None:
    keystone = Keystone()
    keystone.answer = lambda _: Answer(status, {"error": {}})
    assert reason(authenticator(keystone)) is Reason.IDENTITY_UNAVAILABLE


@pytest.mark.parametrize("problem", [exceptions.ConnectFailure, exceptions.Unauthorized, exceptions.EndpointNotFound])
def test_an_unreachable_keystone_is_not_the_clients_fault(problem: type[Exception]) -> None:
    def fails(_: str) -> Answer:
        raise problem("no")

    keystone = Keystone()
    keystone.answer = fails
    assert reason(authenticator(keystone)) is Reason.IDENTITY_UNAVAILABLE


@pytest.mark.parametrize("document", [None, {}, {"token": None}, {"token": {**SCOPED, "expires_at": "soon"}}, []])
def test_an_answer_that_is_not_keystones_admits_nobody(document: object) -> None:
    """A proxy in front of Keystone says 200 with a page of its own."""
    keystone = Keystone()
    keystone.answer = lambda _: Answer(200, document)
    assert reason(authenticator(keystone)) is Reason.IDENTITY_UNAVAILABLE


def test_keystones_answer_is_cached_for_the_time_that_was_set() -> None:
    keystone, clock = Keystone(), Clock()
    asked = authenticator(keystone, 60.0, clock)
    admitted(asked)
    clock.now += 59.9
    admitted(asked)
    assert len(keystone.questions) == 1
    clock.now += 0.2
    admitted(asked)
    assert len(keystone.questions) == 2


def test_use_does_not_prolong_a_cached_answer() -> None:
    keystone, clock = Keystone(), Clock()
    asked = authenticator(keystone, 60.0, clock)
    for _ in range(13):
        admitted(asked)
        clock.now += 10.0
    assert len(keystone.questions) == 3


def test_a_cached_answer_never_outlives_the_token() -> None:
    clock = Clock()
    keystone = Keystone(expires_at=clock.now + 10.0)
    asked = authenticator(keystone, 60.0, clock)
    admitted(asked)
    clock.now += 10.1
    keystone.answer = lambda _: Answer(404, {})
    assert reason(asked) is Reason.UNAUTHENTICATED


def test_a_cache_time_of_zero_caches_nothing() -> None:
    keystone = Keystone()
    asked = authenticator(keystone, 0.0)
    admitted(asked)
    admitted(asked)
    assert len(keystone.questions) == 2


def test_a_refusal_is_not_cached() -> None:
    keystone = Keystone()
    asked = authenticator(keystone)
    keystone.answer = lambda _: Answer(503)
    assert reason(asked) is Reason.IDENTITY_UNAVAILABLE
    keystone.answer = None
    assert admitted(asked).owner == Owner("p1", "u1")


def test_two_tokens_are_two_identities() -> None:
    keystone = Keystone()
    keystone.answer = lambda token: Answer(200, {"token": {**keystone.token, "user": {"id": f"user of {token}"}}})
    asked = authenticator(keystone)
    for token in ("one", "two", "one"):
        assert admitted(asked, {"x-auth-token": token}).owner.user_id == f"user of {token}"


def test_the_cache_does_not_hold_tokens_as_its_keys() -> None:
    asked = authenticator(Keystone())
    admitted(asked)
    assert all(TOKEN.encode() not in key for key in asked._cache)


def test_parallel_requests_with_a_new_token_ask_keystone_once() -> None:
    keystone = Keystone()
    keystone.may_answer.clear()
    asked = authenticator(keystone)

    async def scenario() -> set[Owner]:
        running = [asyncio.create_task(asked.admit(GOOD)) for _ in range(20)]
        await asyncio.to_thread(keystone.asked.wait, 10)
        keystone.may_answer.set()
        return {each.owner for each in await asyncio.gather(*running)}

    assert asyncio.run(scenario()) == {Owner("p1", "u1")}
    assert len(keystone.questions) == 1


def test_a_cancelled_request_does_not_cancel_the_others() -> None:
    keystone = Keystone()
    keystone.may_answer.clear()
    asked = authenticator(keystone)

    async def scenario() -> Identity:
        first, second = (asyncio.create_task(asked.admit(GOOD)) for _ in range(2))
        await asyncio.to_thread(keystone.asked.wait, 10)
        first.cancel()
        await asyncio.wait([first])
        keystone.may_answer.set()
        return await second

    assert asyncio.run(scenario()).owner == Owner("p1", "u1")
    assert len(keystone.questions) == 1


def test_parallel_requests_are_refused_together() -> None:
    keystone = Keystone()
    keystone.answer = lambda _: Answer(503)
    asked = authenticator(keystone)

    async def scenario() -> list[object]:
        found = await asyncio.gather(*(asked.admit(GOOD) for _ in range(5)), return_exceptions=True)
        keystone.answer = None
        await asked.admit(GOOD)
        return [each.reason for each in found if isinstance(each, Refused)]

    assert asyncio.run(scenario()) == [Reason.IDENTITY_UNAVAILABLE] * 5
    assert len(keystone.questions) == 2


def test_a_hanging_keystone_holds_no_thread_of_storage() -> None:
    async def scenario() -> None:
        keystone = Keystone()
        keystone.may_answer.clear()
        asking = authenticator(keystone)
        asked = [asyncio.create_task(asking.admit({"x-auth-token": f"token-{each}"})) for each in range(50)]
        try:
            while len(keystone.questions) < MAX_THREADS:  # all threads hang
                await asyncio.to_thread(keystone.asked.wait, 10)
                keystone.asked.clear()
            async with asyncio.timeout(5):  # it hangs for 10
                assert await asyncio.to_thread(lambda: "done") == "done"
        finally:
            keystone.may_answer.set()
            await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(scenario())
