"""A check that the installed uvicorn has the internals that transport.py and connection.py build on.

They are private, so that any release of uvicorn may change them. Without the check bodies would break, not the start.
"""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import version

from resumable_glance.errors import CannotStart

_HTTP = "uvicorn.protocols.http.httptools_impl"
_FLOW = "uvicorn.protocols.http.flow_control"
NAMES = {
    _HTTP: {"HttpToolsProtocol", "RequestResponseCycle", "STATUS_LINE"},
    _FLOW: {"FlowControl", "HIGH_WATER_LIMIT"},
}
ATTRIBUTES = {
    (_HTTP, "HttpToolsProtocol"): {
        "_unset_keepalive_if_required", "app", "client", "connections", "cycle", "flow", "headers", "loop", "on_body",
        "on_header", "on_headers_complete", "on_message_begin", "on_message_complete", "on_response_complete", "on_url",
        "parser", "pipeline", "scope", "send_400_response", "transport", "url",
    },
    (_HTTP, "RequestResponseCycle"): {
        "body", "disconnected", "keep_alive", "message_event", "more_body", "response_complete", "response_started",
        "scope", "waiting_for_100_continue",
    },
    (_FLOW, "FlowControl"): {"pause_reading", "resume_reading"},
}  # fmt: skip


def check_uvicorn() -> None:
    """Raise CannotStart if the installed uvicorn lacks what this package needs of it."""
    if missing := _missing():
        raise CannotStart(
            f"uvicorn {version('uvicorn')} does not work with this release, which needs {', '.join(missing)}. "
            "Install the version of uvicorn that the package's requirements name."
        )


def _missing() -> list[str]:
    found = []
    for module, names in NAMES.items():
        try:
            present = vars(importlib.import_module(module))
        except ImportError:
            return [module]
        found += [f"{module}.{name}" for name in sorted(names) if name not in present]
    for (module, name), attributes in ATTRIBUTES.items():
        known = _attributes(getattr(importlib.import_module(module), name, object))
        found += [f"{name}.{each}" for each in sorted(attributes - known)]
    return found


def _attributes(class_: type) -> set[str]:
    """Return the names of a class's methods, and of the attributes that they use."""
    methods = [each for _, each in inspect.getmembers(class_, inspect.isfunction)]
    return set(dir(class_)).union(*(each.__code__.co_names for each in methods))
