"""The upload page at `/` for browsers; all other clients get JSON there.

The page has no inline code and loads nothing from other origins, which the policies below enforce.
"""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from resumable_glance.runtime.config import Settings

FILES = Path(__file__).parent / "files"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Of the worker, which computes md5 in WebAssembly and sends chunks; a worker has the policy of its own file.
WORKERS_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class WebPage:
    """The page and its routes."""

    def __init__(self, settings: Settings) -> None:
        self._enabled = settings.page.enabled
        self._settings = {"sign_in": _sign_in(settings)}

    def is_meant(self, request: Request) -> bool:
        """Return whether a request for `/` is a browser's navigation: only these accept text/html."""
        accepted = request.headers.get("accept", "").lower()
        return self._enabled and "text/html" in accepted and "application/json" not in accepted

    def answer(self) -> Response:
        """Return the page."""
        return FileResponse(FILES / "index.html", media_type=TYPES[".html"], headers=_headers("index.html"))

    def routes(self) -> list[Route | Mount]:
        """Return the routes of the page's files and settings."""
        if not self._enabled:
            return []
        return [
            Route("/page/settings.json", self._get_settings, methods=["GET"]),
            Mount("/page", _WithHeaders(StaticFiles(directory=FILES))),
        ]

    async def _get_settings(self, _: Request) -> Response:
        return JSONResponse(self._settings, headers=_headers("settings.json"))


class _WithHeaders:
    """Static files with security headers."""

    def __init__(self, files: StaticFiles) -> None:
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].rpartition("/")[2]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers.update(_headers(name))
                kind = TYPES.get(Path(name).suffix)
                if kind and message["status"] == 200:
                    headers["Content-Type"] = f"{kind}; charset=utf-8"
            await send(message)

        await self._files(scope, receive, send_with_headers)


def _sign_in(settings: Settings) -> str:
    """Return how users of the page authenticate: not at all (`none`), with a `token`, or only with a `ticket`."""
    if settings.service.auth_strategy == "noauth":
        return "none"
    return "token" if settings.page.sign_in else "ticket"


def _headers(name: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": WORKERS_POLICY if name.endswith(".worker.js") else POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",  # validated each time by its ETag
        **({"Vary": "Accept"} if name == "index.html" else {}),
    }
