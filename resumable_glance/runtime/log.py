"""Logging as in OpenStack services (oslo.log), with the request's id in each line.

oslo.context keeps the current request in a thread-local variable, which all tasks of asyncio would share. Here it is a
context variable, and each log record has its own copy.
"""

from __future__ import annotations

import contextvars
import logging
import re
from collections.abc import Mapping

from oslo_config import cfg
from oslo_log import log

_GLOBAL_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_NO_REQUEST: Mapping[str, str | None] = {}
_request: contextvars.ContextVar[Mapping[str, str | None]] = contextvars.ContextVar("request", default=_NO_REQUEST)


def bind(request_id: str, global_id: str) -> None:
    """Put these ids into all further log records of this task; `global_id` is that of the caller's request."""
    valid = _GLOBAL_ID.fullmatch(global_id)
    _request.set({"request_id": request_id, "global_request_id": global_id if valid else None})


def request_id() -> str:
    """Return the id of the current request."""
    return _request.get().get("request_id") or ""


def setup(conf: cfg.ConfigOpts) -> None:
    """Configure logging by the options of oslo.log."""
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), "alembic.runtime.plugins=WARNING"])
    log.setup(conf, "resumable-glance")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_with_request)


def _with_request(record: logging.LogRecord) -> bool:
    record.context = dict(_request.get())
    return True
