"""Authenticators keep their contract, and the check notices those that do not. The real Keystone: openstack/."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from resumable_glance.auth.base import Identity, UploadScope
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.noauth import NoAuthenticator
from resumable_glance.auth.tickets import TicketAuthenticator, Tickets
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.states import State
from resumable_glance.model.upload import Owner, Upload
from tests.contracts import BrokenPromise, check_authenticator
from tests.fakes.keystone import GOOD, TOKEN, Keystone, authenticator
from tests.support import launcher
from tests.support.launcher import ProjectAuthenticator, token


def test_noauth_keeps_the_contract() -> None:
    asyncio.run(check_authenticator(NoAuthenticator(), {}))


def test_keystone_keeps_the_contract() -> None:
    bad: list[dict[str, str]] = [{}, {"x-auth-token": ""}, {"x-auth-token": "stolen"}, {"authorization": TOKEN}]
    asyncio.run(check_authenticator(authenticator(Keystone()), GOOD, bad))


def test_the_test_authenticator_keeps_the_contract() -> None:
    bad = [{}, {"x-auth-token": ""}, {"x-auth-token": "ada"}, _small(launcher.token(""))]
    asyncio.run(check_authenticator(launcher.ProjectAuthenticator(), _small(launcher.token("ada")), bad))


def _small(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


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
    "broken",
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
def test_the_check_notices_a_broken_authenticator(broken: type[NoAuthenticator]) -> None:
    with pytest.raises(BrokenPromise):
        asyncio.run(check_authenticator(broken(), GOOD, [{"x-auth-token": "stolen"}, {}]))


def test_the_check_shows_why_a_good_request_was_refused() -> None:
    with pytest.raises(Refused):
        asyncio.run(check_authenticator(RefusesEverybody(), GOOD))


LIFETIME = 3600
OWNER = Identity(Owner("project", "user"), token="a-token-of-the-owner")


def upload(number: int = 1, generation: int = 0) -> Upload:
    return Upload(f"a-{number:032x}", OWNER.owner, 10, State.RECEIVING, None, 0.0, 0.0, 0.0, generation=generation)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "credentials.key"


def test_tickets_keep_the_contract(key_file: Path) -> None:
    made = Tickets(TokenCipher(key_file), LIFETIME)
    authenticator = TicketAuthenticator(made, ProjectAuthenticator())
    good = {"authorization": f"Bearer {made.issue(upload()).value}"}
    over = Tickets(TokenCipher(key_file), -1).issue(upload()).value
    bad = [{}, {"authorization": "Bearer"}, {"authorization": "Bearer x"}, {"authorization": f"Basic {over}"}]
    asyncio.run(check_authenticator(authenticator, good, [*bad, {"authorization": f"Bearer {over}"}]))
    asyncio.run(check_authenticator(authenticator, {"x-auth-token": token("ada")["X-Auth-Token"]}, bad))
