"""A bad link: a TCP proxy on the loopback interface that is slow and cuts connections in the middle."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future

PIECE = 64 * 1024  # bytes


class BadLink:
    """Forwards to 127.0.0.1:`target`; cuts a connection (with RST) after a random number of bytes sent upwards.

    `cuts` is how many cuts there will be at most, `patience` bounds the bytes before each; `rate` in bytes a second
    of each connection, None for as fast as it goes; it can be changed at any time. The random numbers come from `seed`.
    While it is `down`, nothing gets through: who tries is cut off at once.
    It listens on `port`, by default any that is free. `carried` are the bytes that were sent upwards in all.
    """

    def __init__(
        self,
        target: int,
        *,
        cuts: int = 0,
        patience: tuple[int, int] = (0, 1),
        rate: int | None = None,
        seed: int = 0,
        port: int = 0,
    ) -> None:
        self.cuts_left = cuts
        self.cuts_made = 0
        self.carried = 0
        self.on_cut: Callable[[int], None] = lambda _: None
        self._target = target
        self._patience = patience
        self.rate = rate
        self.down = False
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._carry, "127.0.0.1", port)).result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> BadLink:
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: object) -> Future[asyncio.Server]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)  # type: ignore[arg-type]

    async def _close(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.down:
                raise ConnectionRefusedError
            upward_reader, upward_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, upward_writer}
        try:
            done, pending = await asyncio.wait(
                [
                    asyncio.create_task(self._upwards(reader, upward_writer)),
                    asyncio.create_task(self._downwards(upward_reader, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in pending:
                task.cancel()
            await asyncio.gather(*done, *pending, return_exceptions=True)
        except asyncio.CancelledError:
            pass  # we close; asyncio would report a connection that ends so as a mistake
        finally:
            for each in (writer, upward_writer):
                self._writers.discard(each)
                each.transport.abort()

    async def _upwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self._random.randint(*self._patience)
        while piece := await reader.read(PIECE):
            self.carried += len(piece)
            if self.down:
                return
            if self.cuts_left > 0 and len(piece) >= left:
                writer.write(piece[:left])
                await writer.drain()
                self.cuts_left -= 1
                self.cuts_made += 1
                self.on_cut(self.cuts_made)
                return
            left -= len(piece)
            writer.write(piece)
            await writer.drain()
            if self.rate is not None:
                await asyncio.sleep(len(piece) / self.rate)

    async def _downwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
