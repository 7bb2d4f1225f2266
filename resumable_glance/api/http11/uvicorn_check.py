"""The internals of uvicorn that the HTTP/1.1 implementation extends.

They are not part of uvicorn's public interface: pyproject.toml bounds its version, and this check names what is missing
from a version outside these bounds. Without it, bodies could break silently.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version

from resumable_glance.errors import CannotStart

MODULES: Mapping[str, str] = {  # modules, and the names that are imported from them
    "uvicorn.protocols.http.flow_control": "HIGH_WATER_LIMIT FlowControl",
    "uvicorn.protocols.http.httptools_impl": "STATUS_LINE HttpToolsProtocol RequestResponseCycle",
    "uvicorn.server": "Server",
}
CLASSES: Mapping[str, tuple[str, str]] = {  # methods, and attributes that __init__ sets
    "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol": (
        "connection_made connection_lost data_received eof_received pause_writing resume_writing on_message_begin "
        "on_url on_header on_headers_complete on_body on_message_complete on_response_complete send_400_response "
        "_unset_keepalive_if_required",
        "app client connections cycle flow headers loop parser pipeline scope transport",
    ),
    "uvicorn.protocols.http.httptools_impl:RequestResponseCycle": (
        "",
        "body disconnected keep_alive message_event more_body response_complete response_started scope "
        "waiting_for_100_continue",
    ),
    "uvicorn.protocols.http.flow_control:FlowControl": ("pause_reading resume_reading", ""),
    "uvicorn.server:Server": ("startup handle_exit", "force_exit should_exit started"),
}


def check() -> None:
    """Raise CannotStart if the installed uvicorn lacks anything that we extend."""
    if missing := list(_missing()):
        raise CannotStart(
            f"uvicorn {version('uvicorn')} lacks {', '.join(missing)}: install the version that "
            "resumable-glance[server] requires."
        )


def _missing() -> Iterator[str]:
    for module, names in MODULES.items():
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as problem:
            if problem.name == "uvicorn":
                raise
            yield module
            continue
        for name in names.split():
            if not hasattr(found, name):
                yield f"{module}.{name}"
            elif f"{module}:{name}" in CLASSES:
                yield from _missing_members(f"{module}.{name}", getattr(found, name), *CLASSES[f"{module}:{name}"])


def _missing_members(path: str, class_: type, methods: str, attributes: str) -> Iterator[str]:
    # The names in the code of __init__, since an instance would need a configuration, a loop and a transport.
    assigned = getattr(getattr(class_, "__init__"), "__code__").co_names  # noqa: B009
    yield from (f"{path}.{each}" for each in methods.split() if not hasattr(class_, each))
    yield from (f"{path}.{each}" for each in attributes.split() if each not in assigned)
