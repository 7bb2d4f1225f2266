"""Logging as OpenStack services do it (oslo.log), with the request's id in each line.

oslo.context keeps "the current request" in a thread-local, which asyncio's tasks share; here it is a context
variable, and each record carries its own.
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


def bind(own: str, came: str) -> None:
    """From here on the log lines of this task belong to the request `own`, part of the caller's request `came`."""
    _request.set({"request_id": own, "global_request_id": came if _GLOBAL_ID.fullmatch(came) else None})


def request_id() -> str:
    """The id of the request that is being answered."""
    return _request.get().get("request_id") or ""


def setup(conf: cfg.ConfigOpts) -> None:
    """Log as the options of oslo.log say."""
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), "alembic.runtime.plugins=WARNING"])
    log.setup(conf, "resumable-glance")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_with_request)


def _with_request(record: logging.LogRecord) -> bool:
    record.context = dict(_request.get())
    return True
