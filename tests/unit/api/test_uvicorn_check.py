"""The start names what a uvicorn of another version lacks, before anything breaks without a word."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import sys

import pytest

from resumable_glance.api.http11 import connection, transport, uvicorn_check
from resumable_glance.errors import CannotStart

METHODS = [(path, name) for path, (methods, _) in uvicorn_check.CLASSES.items() for name in methods.split()]
NAMES = [(module, name) for module, names in uvicorn_check.MODULES.items() for name in names.split()]
EXTENDING = (transport.TransportReceiver, transport.HttpProtocol, connection.Connection)
HOLDERS = {  # the classes of uvicorn that our code knows by these names
    "self": "HttpToolsProtocol", "super()": "HttpToolsProtocol", "_http": "HttpToolsProtocol",
    "http": "HttpToolsProtocol", "cycle": "RequestResponseCycle", "_cycle": "RequestResponseCycle",
    "flow": "FlowControl",
}  # fmt: skip
SET_LATER = {"url"}  # by on_message_begin, not by __init__
INITS = [path for path, (_, attributes) in uvicorn_check.CLASSES.items() if attributes]


def test_the_installed_uvicorn_has_everything() -> None:
    uvicorn_check.check()


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_missing_name_is_refused(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(f"{module}.{name}")
    with pytest.raises(CannotStart, match=name):
        uvicorn_check.check()


@pytest.mark.parametrize(("path", "name"), METHODS)
def test_a_missing_method_is_refused(path: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, class_ = path.partition(":")
    monkeypatch.setattr(f"{module}.{class_}", lacking(module, class_, name))
    with pytest.raises(CannotStart, match=name):
        uvicorn_check.check()


@pytest.mark.parametrize("path", INITS)
def test_missing_attributes_are_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{path.replace(':', '.')}.__init__", lambda self: None)
    _, attributes = uvicorn_check.CLASSES[path]
    with pytest.raises(CannotStart, match=attributes.split()[-1]):
        uvicorn_check.check()


def test_a_missing_module_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.flow_control", None)
    with pytest.raises(CannotStart, match="flow_control"):
        uvicorn_check.check()


def lacking(module: str, name: str, method: str) -> type:
    """A copy of a class without one of its methods."""
    found = getattr(importlib.import_module(module), name)
    members = {key: value for key, value in vars(found).items() if key not in {method, "__dict__", "__weakref__"}}
    return type(name, (), members)


def test_nothing_that_is_used_goes_unchecked() -> None:
    own = {name for class_ in EXTENDING for name in {*vars(class_), *inspect.get_annotations(class_)}}
    own |= set(dir(asyncio.Protocol)) | SET_LATER
    used, assigned = set[tuple[str, str]](), set[str]()
    for class_ in EXTENDING:
        for node in ast.walk(ast.parse(inspect.getsource(class_))):
            if isinstance(node, ast.Attribute):
                of = node.value.attr if isinstance(node.value, ast.Attribute) else ast.unparse(node.value)
                if of == "self" and isinstance(node.ctx, ast.Store):
                    assigned.add(node.attr)
                elif of in HOLDERS:
                    used.add((HOLDERS[of], node.attr))
    members = {path.partition(":")[2]: " ".join(each).split() for path, each in uvicorn_check.CLASSES.items()}
    checked = {(class_, name) for class_, names in members.items() for name in names}
    assert {each for each in used - checked if each[1] not in own | assigned} == set()
