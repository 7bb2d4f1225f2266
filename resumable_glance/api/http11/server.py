"""uvicorn with a stop that keeps all received bytes."""

from __future__ import annotations

import asyncio
import resource
import signal
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from resumable_glance.api.http11 import connection
from resumable_glance.runtime import config
from resumable_glance.uploads.service import UploadService


class GracefulServer(uvicorn.Server):
    """A server that interrupts running requests when it stops, instead of waiting for their ends as uvicorn does."""

    def __init__(self, asgi: ASGIApp, uploads: UploadService, settings: config.Settings) -> None:
        self._uploads = uploads
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(
            uvicorn.Config(
                asgi,
                host=settings.service.bind_host,
                port=settings.service.bind_port,
                loop="uvloop",
                http=connection.protocol(_limits(settings)),
                ws="none",
                lifespan="on",
                log_config=None,
                server_header=False,
                proxy_headers=bool(settings.service.trusted_proxies),
                forwarded_allow_ips=list(settings.service.trusted_proxies),
                timeout_keep_alive=75,  # longer than proxies keep connections, so that they close them first
                timeout_graceful_shutdown=settings.service.graceful_timeout,
            )
        )

    async def startup(self, sockets: Any = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own would end the process by the signal afterwards: but this stop is a success.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._uploads.close(), self._loop)


def _limits(settings: config.Settings) -> connection.ConnectionLimits:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connection.ConnectionLimits(
        head_size=settings.limits.head_size,
        head_fields=settings.limits.head_fields,
        head_timeout=settings.service.head_timeout,
        send_timeout=settings.service.idle_timeout,
        connections=settings.limits.connections or files // 2,
        per_peer=settings.limits.connections_per_peer,
        trusted=settings.service.trusted_proxies,
        origins=settings.cors.allowed_origin,
    )
