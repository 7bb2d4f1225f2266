"""Bodies that come straight into buffers: whoever reads them, however they come, they are the bytes that were sent."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import random
import socket
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from resumable_glance.api.http11 import body as http_body
from resumable_glance.api.http11 import transport
from resumable_glance.api.http11.body import RequestBody, receiver_of
from resumable_glance.api.http11.transport import Buffers, HttpProtocol, TransportReceiver
from resumable_glance.errors import Reason, Refused
from tests.fakes.memory_body import PATIENCE

BUFFER = 1000  # bytes, so that small bodies fill many of them
BATCH = 500
READ = 250
POOL = 6  # buffers
CONTENT = random.Random(5).randbytes(50_000)
INTERRUPTION = Refused(Reason.SUPERSEDED, "A newer request has taken over.")


class Small(HttpProtocol):
    common = bytearray(READ)
    buffers = Buffers(POOL)


class Reader:
    """An application that reads as the query says, and answers with what it has read."""

    def __init__(self) -> None:
        self.lent = 0  # buffers, at most
        self.broken: list[bytes] = []  # what came of bodies that were cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        response = await self._read(request, RequestBody(receiver_of(scope, receive), PATIENCE))
        await response(scope, receive, send)

    async def _read(self, request: Request, body: RequestBody) -> Response:
        how, most, pause = request.query_params["how"], int(request.query_params["most"]), request.query_params["pause"]
        found = bytearray()
        try:
            if how == "asgi":
                async for piece in request.stream():
                    found += piece
                    await asyncio.sleep(float(pause))
            else:
                async for batch in body.batches(len(CONTENT)):
                    self.lent = max(self.lent, Small.buffers.lent)
                    await asyncio.sleep(float(pause))  # meanwhile the transport may fill any buffer but this one
                    found += batch
                    if how == "interrupt" and len(found) >= most:
                        body.interrupt(INTERRUPTION)
                    elif how == "leave" and len(found) >= most:
                        break
        except Refused as refusal:
            if refusal.reason is Reason.DISCONNECTED:
                self.broken.append(bytes(found))
            else:
                assert refusal is INTERRUPTION
        return PlainTextResponse(f"{len(found)} {hashlib.md5(found).hexdigest()}")


class Served:
    def __init__(self) -> None:
        self.reader = Reader()
        config = uvicorn.Config(self.reader, port=0, http=Small, loop="uvloop", lifespan="off", log_config=None)
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port: int = self.server.servers[0].sockets[0].getsockname()[1]

    def end(self) -> None:
        self.server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    patch = pytest.MonkeyPatch()
    patch.setattr(transport, "BUFFER", BUFFER)
    patch.setattr(transport, "BATCH", BATCH)
    patch.setattr(http_body, "BATCH", BATCH)
    patch.setattr(http_body, "GATHER_TIMEOUT", 0.02)
    running = Served()
    yield running
    running.end()
    patch.undo()


def head(length: int, how: str, most: int = 10**9, pause: float = 0, **headers: str) -> bytes:
    lines = [f"POST /?how={how}&most={most}&pause={pause} HTTP/1.1", "Host: test", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def answer(line: socket.socket) -> str:
    with contextlib.closing(http.client.HTTPResponse(line, method="POST")) as response:
        response.begin()
        assert response.status == 200
        return response.read().decode()


def told(content: bytes) -> str:
    return f"{len(content)} {hashlib.md5(content).hexdigest()}"


def connection(served: Served) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def send(line: socket.socket, content: bytes, cuts: list[int]) -> None:
    for start, stop in zip([0, *cuts], [*cuts, len(content)], strict=True):
        line.sendall(content[start:stop])
        if stop < len(content):
            time.sleep(0.001)


requests = st.tuples(
    st.sampled_from(["direct", "direct", "direct", "interrupt", "leave", "asgi"]),
    st.one_of(st.integers(0, 3000), st.integers(0, 20_000)),  # bytes of the body
    st.lists(st.integers(0, 20_000), max_size=6),  # where what is sent is cut
    st.sampled_from([0, 0, 0.0005]),  # seconds that the reader takes for each piece
    st.one_of(st.just(10**9), st.integers(0, 5000)),  # bytes after which it has had enough
)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(several=st.lists(requests, min_size=1, max_size=4))
def test_requests_carry_their_bytes_however_they_are_cut(
    served: Served, several: list[tuple[str, int, list[int], float, int]]
) -> None:
    with connection(served) as line:
        for how, length, cuts, pause, most in several:
            wire = head(length, how, most, pause) + CONTENT[:length]
            send(line, wire, sorted(each for each in cuts if each < len(wire)))
            said = answer(line)
            read = int(said.split()[0])
            assert said == told(CONTENT[:read])
            assert read == length if most > length or how in {"asgi", "direct"} else read <= length


def test_fast_clients_fill_buffers_and_slow_ones_hold_none(served: Served) -> None:
    with connection(served) as line:
        line.sendall(head(len(CONTENT), "direct", pause=0.001))
        time.sleep(0.05)  # it is waited for
        line.sendall(CONTENT)
        assert answer(line) == told(CONTENT)
        assert served.reader.lent == 2
        line.sendall(head(5000, "direct") + CONTENT[:3000])
        time.sleep(0.1)  # longer than a buffer waits to be full
        assert all_back(), "a body that stalls keeps buffers from others"
        line.sendall(CONTENT[3000:5000])
        assert answer(line) == told(CONTENT[:5000])


def test_more_bodies_than_there_are_buffers_for_all_come(served: Served) -> None:
    lines = [connection(served) for _ in range(POOL)]
    for line in lines:
        line.sendall(head(len(CONTENT), "direct", pause=0.001))
    for start in range(0, len(CONTENT), 5000):
        for line in lines:
            line.sendall(CONTENT[start : start + 5000])
    for line in lines:
        assert answer(line) == told(CONTENT)
        line.close()


@pytest.mark.parametrize("sent", [0, 1, 249, 250, 999, 1000, 1001, 2000, 2500, 9999, 40_001])
def test_all_bytes_before_a_cut_are_read(served: Served, sent: int) -> None:
    served.reader.broken.clear()
    with connection(served) as line:
        line.sendall(head(len(CONTENT), "direct", pause=0.0005) + CONTENT[:sent])
    deadline = time.monotonic() + 10
    while not served.reader.broken and time.monotonic() < deadline:
        time.sleep(0.01)
    assert served.reader.broken == [CONTENT[:sent]]


def test_an_expectation_gets_100_continue(served: Served) -> None:
    with connection(served) as line:
        line.sendall(head(2000, "direct", Expect="100-continue"))
        assert line.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(CONTENT[:2000])
        assert answer(line) == told(CONTENT[:2000])


def test_pipelined_requests_are_answered_in_turn(served: Served) -> None:
    with connection(served) as line:
        line.sendall((head(3000, "direct") + CONTENT[:3000]) * 3)
        file = line.makefile("rb")
        for _ in range(3):
            assert b" 200 " in file.readline()
            length = 0
            while (field := file.readline()) != b"\r\n":
                if field.lower().startswith(b"content-length:"):
                    length = int(field.split(b":")[1])
            assert file.read(length).decode() == told(CONTENT[:3000])


def test_bytes_after_the_last_request_are_harmless(served: Served) -> None:
    last = head(0, "asgi", Connection="close") + b"and something more"
    for bodies in (0, 1):
        with connection(served) as line:
            for _ in range(bodies):
                line.sendall(head(3000, "direct"))
                time.sleep(0.05)
                line.sendall(CONTENT[:3000])
                assert answer(line) == told(CONTENT[:3000])
            line.sendall(last)
            assert answer(line) == told(b"")


def test_at_the_end_every_buffer_is_back_once(served: Served) -> None:
    with connection(served) as line:
        line.sendall(head(len(CONTENT), "leave", most=3000) + CONTENT)
        answer(line)
    assert all_back()
    buffers = [each for _ in range(POOL // 2) for each in Small.buffers.pair()]
    assert len({id(each) for each in buffers}) == POOL
    Small.buffers.give_back(buffers)


def busy(seconds: float) -> None:
    """Nothing else runs in this thread meanwhile."""
    time.sleep(seconds)


def all_back() -> bool:
    """Whether no buffer is lent, within some seconds."""
    deadline = time.monotonic() + 5
    while Small.buffers.lent and time.monotonic() < deadline:
        time.sleep(0.01)
    return not Small.buffers.lent


class Bench:
    """A receiver and a body over it without a connection: its bytes come exactly when they are told to."""

    def __init__(self, idle_timeout: float = PATIENCE) -> None:
        self.cycle = types.SimpleNamespace(
            body=bytearray(), message_event=asyncio.Event(), disconnected=False, response_complete=False
        )
        self.reading = True
        flow = types.SimpleNamespace(pause_reading=lambda: self._read(False), resume_reading=lambda: self._read(True))
        connection: Any = types.SimpleNamespace(
            cycle=self.cycle, common=bytearray(READ), buffers=Buffers(2), flow=flow, send_continue=lambda _: None,
            _unset_keepalive_if_required=lambda: None,
        )  # fmt: skip
        self.receiver = TransportReceiver(connection, len(CONTENT))
        self.body = RequestBody(self.receiver, idle_timeout)
        self.sent = 0

    def come(self, length: int) -> None:
        assert self.reading
        self.receiver.get_buffer(-1)[:length] = CONTENT[self.sent : self.sent + length]
        self.sent += length
        self.receiver.buffer_updated(length)

    def _read(self, on: bool) -> None:
        self.reading = on


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "BUFFER", BUFFER)
    monkeypatch.setattr(transport, "BATCH", BATCH)
    monkeypatch.setattr(http_body, "BATCH", BATCH)


@pytest.mark.usefixtures("small")
def test_a_buffer_filled_at_the_timeout_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No connection can be made to be so exact."""
    monkeypatch.setattr(http_body, "GATHER_TIMEOUT", 0.01)

    async def scenario() -> None:
        bench = Bench()
        batches = aiter(bench.body.batches(len(CONTENT)))
        reading = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        bench.come(READ)  # as fast as it is read: from now on into a buffer
        found = bytes(await reading)
        reading = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        # Due right before the timeout; and the loop sees neither before both are.
        for length in (BUFFER, 10):
            asyncio.get_running_loop().call_later(0.005, bench.come, length)
        busy(0.03)
        await asyncio.sleep(0.001)
        while len(found) < bench.sent:
            found += await reading
            reading = asyncio.ensure_future(anext(batches))
        reading.cancel()
        assert found == CONTENT[: bench.sent]

    asyncio.run(scenario())


@pytest.mark.usefixtures("small")
def test_a_client_that_never_stops_sending_can_be_interrupted() -> None:
    async def scenario() -> None:
        bench = Bench()
        found = bytearray()

        async def read() -> None:
            async for batch in bench.body.batches(len(CONTENT)):
                found.extend(batch)
                bench.body.interrupt(INTERRUPTION)
                while bench.reading and bench.receiver.rest:
                    bench.come(min(len(bench.receiver.get_buffer(-1)), bench.receiver.rest))

        asyncio.get_running_loop().call_soon(bench.come, READ)
        with pytest.raises(Refused) as refused:
            await read()
        assert refused.value is INTERRUPTION
        assert found == CONTENT[: bench.sent], "what came before is given"
        assert bench.sent <= READ + 2 * BUFFER

    asyncio.run(scenario())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("length", [1, READ - 1])
def test_small_pieces_are_gathered_and_then_paused(length: int) -> None:
    """Else what comes faster than it is written fills the memory."""

    async def scenario() -> None:
        bench = Bench()
        batches = aiter(bench.body.batches(len(CONTENT)))
        reading = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        while bench.reading:
            bench.come(length)
        assert BATCH <= len(await reading) == bench.sent < BATCH + length

    asyncio.run(scenario())


def test_buffers_are_given_in_pairs_as_long_as_there_are_any() -> None:
    buffers = Buffers(5)
    first, second = buffers.pair(), buffers.pair()
    assert [len(each) for each in (first, second, buffers.pair())] == [2, 2, 0]
    buffers.give_back([first[0]])
    again: list[Any] = buffers.pair()
    assert again[0] is first[0]
    assert len(again) == 2
