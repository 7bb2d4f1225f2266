"""A Glance on its worst days: an HTTP proxy before the real one that does to requests whatever a schedule says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PIECE = 64 * 1024  # bytes
_ID = re.compile(r"/v2/images/([0-9a-f-]{36})")
_KINDS = {"PUT": "data", "GET": "ask", "POST": "make", "DELETE": "remove"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the next request `on` an image: its `data`, `import`, `ask`, `make` (in place of another) or
    `remove`.

    `what` is refuse (no answer at all), answer (with `status`, after the whole body), early (with `status`, before it),
    reset and stall (after `at` bytes), lose (the answer, after Glance has done it), flip (a byte of the image), spoil
    (415, and what was refused stays in the store), kill-glance and kill-service (after `at` bytes; of an import before
    Glance sees it).
    """

    on: str
    what: str
    status: int = 0
    at: int = 0


class BadGlance:
    """Forwards to 127.0.0.1:`target`, one request a connection. `store` is the directory of its default store.

    Images are told apart by their names. `kill_glance` and `kill_service` end them and start them again.
    """

    def __init__(
        self, target: int, store: Path, kill_glance: Callable[[], None], kill_service: Callable[[], None]
    ) -> None:
        self.met: list[Fault] = []
        self.imports = True  # whether it has any import method
        self._target = target
        self._store = store
        self._kills: Mapping[str, Callable[[], None]] = {"kill-glance": kill_glance, "kill-service": kill_service}
        self._schedules: dict[str, list[Fault]] = {}
        self._names: dict[str, str] = {}  # of images, by id
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: asyncio.Server = self._do(asyncio.start_server(self._carry, "127.0.0.1", 0)).result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def __enter__(self) -> BadGlance:
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def schedule(self, name: str, faults: list[Fault]) -> None:
        """From now on these befall the requests about images of this name, each once, in order."""
        self._schedules[name] = list(faults)

    def left(self, name: str) -> list[Fault]:
        return self._schedules.get(name, [])

    def _do(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)  # until 3.12 nobody else holds one that waits for its reader
        try:
            await self._request(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = _Body(reader, head)
        method, path, _ = head.decode("latin-1").split(" ", 2)
        document = b"" if method != "POST" else await body.rest()
        if path == "/v2/info/import" and not self.imports:
            return await _answer(writer, 404, "Content-Type: text/plain\r\n")
        if method == "POST" and document and not path.endswith("/import"):
            made = json.loads(document)
            self._names[made.get("id", "")] = made.get("name", "")
        fault = self._next(method, path, document)
        if fault is None:
            await self._forward(head, document, body, writer)
        elif fault.what == "answer":
            await body.rest()
            await _answer(writer, fault.status, "Content-Type: text/plain\r\n")
        elif fault.what == "early":  # as some proxies do: without even a Content-Type
            await _answer(writer, fault.status)
        elif fault.what == "spoil":
            await body.rest()
            (self._store / _ID.match(path)[1]).write_bytes(b"refused")  # type: ignore[index]
            await _answer(writer, 415, "Content-Type: text/plain\r\n")
        elif fault.on == "import" and fault.what in self._kills:
            await self._break(fault, "")
        elif fault.what != "refuse":
            await self._forward(head, document, body, writer, fault)
        return None

    def _next(self, method: str, path: str, document: bytes) -> Fault | None:
        image = _ID.match(path)
        name = self._names.get(image[1], "") if image else json.loads(document).get("name", "") if document else ""
        faults = self._schedules.get(name, [])
        kind = "import" if path.endswith("/import") else _KINDS.get(method)
        if not faults or faults[0].on != kind:
            return None
        self.met.append(faults[0])
        return faults.pop(0)

    async def _forward(
        self, head: bytes, document: bytes, body: _Body, writer: asyncio.StreamWriter, fault: Fault | None = None
    ) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            here.write(head + document)
            answer = asyncio.create_task(_everything(there))  # it closes each connection
            try:
                if not await self._upwards(body, here, fault, _image_of(head)):
                    return
            except OSError:
                pass  # it has answered before it had everything
            if fault is None or fault.what != "lose":
                await _send(writer, await answer)
        finally:
            here.transport.abort()

    async def _upwards(self, body: _Body, here: asyncio.StreamWriter, fault: Fault | None, image_id: str) -> bool:
        """Whether the whole body was sent."""
        sent = 0
        while piece := await body.piece():
            if not sent and body.chunked:  # the image begins behind the size of the first chunk
                sent = -(piece.find(b"\r\n") + 2)
            if fault is not None and fault.what in {"reset", "stall", *self._kills} and sent + len(piece) > fault.at:
                here.write(piece[: fault.at - sent])
                await here.drain()
                return await self._break(fault, image_id)
            if fault is not None and fault.what == "flip" and sent <= fault.at < sent + len(piece):
                piece = piece[: fault.at - sent] + bytes([piece[fault.at - sent] ^ 1]) + piece[fault.at - sent + 1 :]
            sent += len(piece)
            here.write(piece)
            await here.drain()
        if fault is not None and fault.what in {"stall", *self._kills}:
            return await self._break(fault, image_id)
        return True

    async def _saving(self, image_id: str) -> None:
        """Return when Glance has begun to save, or does not do so for seconds: it asks Keystone first."""
        for _ in range(100):
            if (self._store / image_id).exists():
                return
            await asyncio.sleep(0.05)

    async def _break(self, fault: Fault, image_id: str) -> bool:
        if fault.what in self._kills:
            if fault.what == "kill-glance" and fault.on == "data":
                await self._saving(image_id)
            await asyncio.to_thread(self._kills[fault.what])
        elif fault.what == "stall":
            await asyncio.sleep(3600)  # until the client has had enough: then our writes fail, or we are closed
        return False


def _image_of(head: bytes) -> str:
    found = re.search(_ID.pattern.encode(), head)
    return found[1].decode() if found else ""


class _Body:
    """A request's body as it comes: framed by its length, or in chunks, whose last one is taken for it by its look."""

    def __init__(self, reader: asyncio.StreamReader, head: bytes) -> None:
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        self._reader = reader
        self.chunked = b"chunked" in head.lower()
        self._left = int(length[1]) if length else 0
        self._end = b""

    async def piece(self) -> bytes:
        if self.chunked:
            if self._end == b"0\r\n\r\n":
                return b""
            piece = await self._reader.read(PIECE)
            if not piece:
                raise EOFError
            self._end = (self._end + piece)[-5:]
            return piece
        piece = await self._reader.read(min(PIECE, self._left)) if self._left else b""
        self._left -= len(piece)
        return piece

    async def rest(self) -> bytes:
        whole = b""
        while piece := await self.piece():
            whole += piece
        return whole


async def _answer(writer: asyncio.StreamWriter, status: int, headers: str = "") -> None:
    text = f"HTTP/1.1 {status} Fault\r\n{headers}Connection: close\r\nContent-Length: 7\r\n\r\na fault"
    await _send(writer, text.encode())


async def _everything(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends, however it does."""
    come = b""
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE):
            come += piece
    return come


async def _send(writer: asyncio.StreamWriter, answer: bytes) -> None:
    """The last that is sent. Its reader gets the time to read it before it meets a reset."""
    with contextlib.suppress(OSError):
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await asyncio.sleep(0.2)
