"""A uvicorn that lacks what bodies need is told at the start, in a sentence."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import sys
from pathlib import Path

import pytest

from resumable_glance import cli
from resumable_glance.api.http11 import connection, transport
from resumable_glance.api.http11.compatibility import ATTRIBUTES, NAMES, check_uvicorn
from resumable_glance.errors import CannotStart

EACH_NAME = [(module, name) for module, names in NAMES.items() for name in sorted(names)]
OURS = (transport.TransportReceiver, transport.HttpProtocol, connection.Connection)
HOLDERS = {
    "cycle": "RequestResponseCycle", "_cycle": "RequestResponseCycle", "flow": "FlowControl",
    "_http": "HttpToolsProtocol", "http": "HttpToolsProtocol", "self": "HttpToolsProtocol",
    "super()": "HttpToolsProtocol",
}  # fmt: skip


def test_the_installed_uvicorn_has_all_that_is_needed() -> None:
    check_uvicorn()


@pytest.mark.parametrize(("module", "name"), EACH_NAME)
def test_a_name_that_is_missing_ends_the_start(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> None:
    monkeypatch.delattr(importlib.import_module(module), name)
    with pytest.raises(CannotStart, match=name):
        check_uvicorn()


@pytest.mark.parametrize("module", NAMES)
def test_a_module_that_is_missing_ends_the_start(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CannotStart, match=module):
        check_uvicorn()


@pytest.mark.parametrize(("module", "class_"), ATTRIBUTES)
def test_attributes_that_are_missing_end_the_start(monkeypatch: pytest.MonkeyPatch, module: str, class_: str) -> None:
    monkeypatch.setattr(importlib.import_module(module), class_, object)
    with pytest.raises(CannotStart) as refused:
        check_uvicorn()
    assert all(f"{class_}.{each}" in str(refused.value) for each in ATTRIBUTES[module, class_])


def test_the_serve_command_ends_with_the_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(importlib.import_module(EACH_NAME[0][0]), EACH_NAME[0][1])
    assert cli.main(["serve", "--dev", "--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "state")]) == 1
    assert EACH_NAME[0][1] in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_nothing_that_is_used_of_uvicorn_goes_unchecked() -> None:
    attributes = [node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    own = {name for class_ in OURS for name in {*vars(class_), *inspect.get_annotations(class_)}}
    own |= set(dir(asyncio.Protocol))
    own |= {each.attr for each in attributes if holder(each) == "self" and isinstance(each.ctx, ast.Store)}
    used = {(HOLDERS[holder(each)], each.attr) for each in attributes if holder(each) in HOLDERS}
    checked = {(class_, name) for (_, class_), names in ATTRIBUTES.items() for name in names}
    assert {each for each in used - checked if each[1] not in own} == set()
    assert checked - used == set()


def trees() -> list[ast.AST]:
    return [ast.parse(inspect.getsource(each)) for each in OURS]


def holder(attribute: ast.Attribute) -> str:
    """What it is an attribute of."""
    of = attribute.value
    return of.attr if isinstance(of, ast.Attribute) else ast.unparse(of)
