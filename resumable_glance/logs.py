"""Logging as OpenStack services do it (oslo.log), with the request's id in each line.

oslo.context keeps "the current request" in a thread-local, which asyncio's tasks share; here it is a context
variable, and each record carries its own.
"""

from __future__ import annotations

import contextvars
import logging
import re

from oslo_config import cfg
from oslo_context import context
from oslo_log import log

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")
_context: contextvars.ContextVar[context.RequestContext | None] = contextvars.ContextVar("context", default=None)
_GLOBAL_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def bind(own: str, came: str) -> None:
    """From here on the log lines of this task belong to the request `own`, part of the caller's request `came`."""
    request_id.set(own)
    global_id = came if _GLOBAL_ID.fullmatch(came) else None
    _context.set(context.RequestContext(request_id=own, global_request_id=global_id, overwrite=False))


def setup(conf: cfg.ConfigOpts) -> None:
    """Log as the options of oslo.log say."""
    log.setup(conf, "resumable-glance")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_with_context)


def _with_context(record: logging.LogRecord) -> bool:
    found = _context.get()
    if found is not None and not hasattr(record, "context"):
        record.context = found
    return True
