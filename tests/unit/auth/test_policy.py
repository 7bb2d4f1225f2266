"""Who may do what: the defaults, a policy file of an operator's, and that nobody notices what is not for them."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import get_args

import pytest

from resumable_glance.auth.base import OWN, Identity, Right
from resumable_glance.auth.policy import RULES, BadPolicy, Policy
from resumable_glance.errors import Reason
from resumable_glance.images.base import Actor
from resumable_glance.model.commands import (
    Cancel,
    Command,
    Create,
    Created,
    Get,
    List,
    Listed,
    Retry,
    RevokeTickets,
    UploadFound,
    Watch,
)
from resumable_glance.model.states import Event, State
from resumable_glance.model.upload import FailureReason, Image, LastError, Owner
from resumable_glance.runtime import config
from resumable_glance.uploads.authorization import RIGHTS
from tests.support.rig import CONTENT, DAY, IMAGE, ME, SIZE, Pieces, Rig, refusal, rig

EVERYBODYS = {Right.LIST_ALL, Right.GET_ANY, Right.CANCEL_ANY}
LOOKING = {Right.LIST, Right.GET}


def policy(directory: Path, text: str | None = None) -> Policy:
    """The policy of a service with this policy file, or none."""
    file = directory / "policy.yaml"
    if text is not None:
        file.write_text(text)
    configuration = directory / "resumable-glance.conf"
    configuration.write_text(f"[oslo_policy]\npolicy_file = {file}\n")
    _, conf = config.load([str(configuration)], {"auth_strategy": "noauth", "image_service": "directory"})
    return Policy(conf)


def somebody(*roles: str, system: bool = False) -> Identity:
    return Identity(Owner("" if system else "project", "user"), "token", roles=roles, system=system)


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (somebody("member"), OWN),
        (somebody("member", "reader"), OWN),
        (somebody("manager"), OWN),
        (somebody("reader"), LOOKING),
        (somebody("admin"), OWN | EVERYBODYS),
        (somebody("service"), EVERYBODYS),
        (somebody("admin", system=True), EVERYBODYS),
        (somebody("reader", system=True), {Right.LIST_ALL, Right.GET_ANY}),
        (somebody("member", system=True), set()),
        (somebody("janitor"), set()),
        (somebody(), set()),
    ],
    ids=lambda each: f"{'+'.join(each.roles)}{' system' * each.system}" if isinstance(each, Identity) else "",
)
def test_the_default_rights_of_each_role(tmp_path: Path, who: Identity, may: set[Right]) -> None:
    assert policy(tmp_path).rights(who) == may


def test_an_operator_changes_a_rule_and_the_others_stay(tmp_path: Path) -> None:
    changed = policy(tmp_path, '"upload:create": "role:image_maker"\n')
    assert changed.rights(somebody("member")) == OWN - {Right.CREATE}
    assert changed.rights(somebody("image_maker")) == {Right.CREATE}


def test_a_rule_may_ask_for_the_project(tmp_path: Path) -> None:
    changed = policy(tmp_path, '"upload:create": "project_id:%(project_id)s and project_id:project"\n')
    assert Right.CREATE in changed.rights(somebody("member"))
    stranger = dataclasses.replace(somebody("member"), owner=Owner("other", "user"))
    assert Right.CREATE not in changed.rights(stranger)


def test_a_changed_file_counts_without_a_restart(tmp_path: Path) -> None:
    rules = policy(tmp_path, "{}\n")
    assert Right.CREATE in rules.rights(somebody("member"))
    policy(tmp_path, '"upload:create": "!"\n# so that it has another size\n')
    assert Right.CREATE not in rules.rights(somebody("member"))


def test_a_policy_file_that_is_none_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy):
        policy(tmp_path, "- a list\n- of nothing: [\n")


def test_every_command_takes_a_right_and_every_right_has_a_rule() -> None:
    assert set(RIGHTS) == set(get_args(Command))
    assert set(RULES) == set(Right)


# What comes of it

MEMBER = dataclasses.replace(ME, token="own")
READER = Identity(ME.owner, "own", allowed=frozenset(LOOKING))
ADMIN = Identity(Owner("admins", "admin"), "admin's", allowed=OWN | EVERYBODYS)
WATCHER = Identity(Owner("", "watcher"), "system's", system=True, allowed=frozenset({Right.LIST_ALL, Right.GET_ANY}))
STRANGER = Identity(Owner("other", "user"), "theirs")


async def created(here: Rig) -> str:
    outcome = await here.uploads.perform(Create(SIZE, IMAGE), MEMBER, Pieces())
    assert isinstance(outcome, Created)
    return outcome.upload.id


def test_a_reader_looks_and_changes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here)
            looking: list[Command] = [Get(upload_id), Watch(upload_id), List(10)]
            for command in looking:
                await here.uploads.perform(command, READER, Pieces())
            changing: list[Command] = [Create(1, IMAGE), Cancel(upload_id), Retry(upload_id), RevokeTickets(upload_id)]
            for command in [*changing, List(10, all_projects=True)]:
                assert await refusal(here.uploads.perform(command, READER, Pieces())) is Reason.FORBIDDEN

    asyncio.run(scenario())


@pytest.mark.parametrize("who", [ADMIN, WATCHER], ids=["admin", "reader of the system"])
def test_an_admin_sees_the_uploads_of_all(tmp_path: Path, who: Identity) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here)
            listed = await here.uploads.perform(List(10, all_projects=True), who, Pieces())
            assert isinstance(listed, Listed)
            assert [each.id for each in listed.uploads] == [upload_id]
            seen = await here.uploads.perform(Get(upload_id), who, Pieces())
            assert isinstance(seen, UploadFound)
            assert seen.upload.owner == MEMBER.owner
            for command in (Retry(upload_id), RevokeTickets(upload_id)):
                expected = Reason.FORBIDDEN if who.system else Reason.UNKNOWN_UPLOAD
                assert await refusal(here.uploads.perform(command, who, Pieces())) is expected

    asyncio.run(scenario())


def test_looking_at_a_foreign_upload_changes_nothing(tmp_path: Path) -> None:
    """Neither is the owner's token replaced by an admin's, nor a chunk ended."""

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here)
            await here.send(upload_id, 0, SIZE)
            await here.catalog.uploads.transition(upload_id, Event.STARTED, here.now, attempts=1)
            trouble = LastError(FailureReason.TOKEN_EXPIRED, "A sentence.")
            credential = here.delegation.encrypt("own", here.now + 60)
            await here.catalog.uploads.set_credential(upload_id, credential, here.now, here.now + DAY)
            before = await here.catalog.uploads.transition(upload_id, Event.POSTPONED, here.now, last_error=trouble)
            await here.uploads.perform(Get(upload_id, taking_over=True), ADMIN, Pieces())
            assert await here.catalog.uploads.get(upload_id) == before
            assert await here.catalog.uploads.credential(upload_id) == credential

    asyncio.run(scenario())


def test_an_admin_cancels_a_foreign_upload_and_its_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here)
            kept: list[str | None] = []
            delete = here.image_service.delete

            async def noted(image: Image, actor: Actor) -> None:
                kept.append(actor.token)
                await delete(image, actor)

            here.image_service.delete = noted  # type: ignore[method-assign]
            await here.uploads.perform(Cancel(upload_id), ADMIN, Pieces())
            found = await here.catalog.uploads.get(upload_id)
            assert found is not None
            assert found.state is State.CANCELLED
            assert kept == ["own"]
            assert list(here.images.iterdir()) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("who", [STRANGER, READER, WATCHER], ids=["a stranger", "a reader", "a reader of the system"])
def test_no_other_role_cancels(tmp_path: Path, who: Identity) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here)
            assert await refusal(here.uploads.perform(Cancel(upload_id), who, Pieces())) in {
                Reason.UNKNOWN_UPLOAD,
                Reason.FORBIDDEN,
            }
            assert (await here.inspect(upload_id)).upload.state is State.RECEIVING

    asyncio.run(scenario())


def test_a_token_of_no_project_has_no_uploads_of_its_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            everything = dataclasses.replace(WATCHER, allowed=frozenset(Right))
            for command in (Create(1, IMAGE), List(10)):
                assert await refusal(here.uploads.perform(command, everything, Pieces(CONTENT))) is Reason.FORBIDDEN

    asyncio.run(scenario())
