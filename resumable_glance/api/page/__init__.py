"""The page at `/`: for people with a browser. Whoever asks for anything but HTML there gets JSON, as ever.

Its one rule: nothing inline and nothing from elsewhere. The policies below hold browsers to it.
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
# A worker has the policy that comes with its own file. This one computes md5 in WebAssembly, and sends chunks.
WORKERS_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class WebPage:
    """The page's routes, and whether a request for `/` means it."""

    def __init__(self, settings: Settings) -> None:
        self._enabled = settings.page.enabled
        self._settings = {"sign_in": _sign_in(settings)}

    def is_meant(self, request: Request) -> bool:
        """Browsers name text/html when somebody goes to an address; programs do not."""
        accepted = request.headers.get("accept", "").lower()
        return self._enabled and "text/html" in accepted and "application/json" not in accepted

    def answer(self) -> Response:
        return FileResponse(FILES / "index.html", media_type=TYPES[".html"], headers=_headers("index.html"))

    def routes(self) -> list[Route | Mount]:
        if not self._enabled:
            return []
        return [
            Route("/page/settings.json", self._tell, methods=["GET"]),
            Mount("/page", _Policed(StaticFiles(directory=FILES))),
        ]

    async def _tell(self, _: Request) -> Response:
        return JSONResponse(self._settings, headers=_headers("settings.json"))


class _Policed:
    """Static files with the headers that they need."""

    def __init__(self, files: StaticFiles) -> None:
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].rpartition("/")[2]

        async def send_policed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers.update(_headers(name))
                kind = TYPES.get(Path(name).suffix)
                if kind and message["status"] == 200:
                    headers["Content-Type"] = f"{kind}; charset=utf-8"
            await send(message)

        await self._files(scope, receive, send_policed)


def _sign_in(settings: Settings) -> str:
    """How somebody at the page shows who they are: `none`, with a `token`, or with a `ticket` alone."""
    if settings.service.auth_strategy == "noauth":
        return "none"
    return "token" if settings.page.sign_in else "ticket"


def _headers(name: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": WORKERS_POLICY if name.endswith(".worker.js") else POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",  # asked for again each time, and not sent again: there is an ETag
        **({"Vary": "Accept"} if name == "index.html" else {}),
    }
