"""Background load: clients that send one file after the other while something happens to the service."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tests.reliability.protocols import WireProtocol
from tests.reliability.sender import PATIENCE, Sender
from tests.support import images
from tests.support.service import Service

KIB = 1024


class BackgroundLoad:
    """One client for each of `protocols`, with files of at most `largest` bytes.

    `refused` counts the answers that were no success, `finished` the files that have become images.
    """

    def __init__(
        self,
        service: Service,
        seed: object,
        protocols: Sequence[WireProtocol],
        largest: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self.finished = 0
        self._service = service
        self._seed = seed
        self._speakers = protocols
        self._largest = largest
        self._headers = headers
        self._over = threading.Event()
        self._threads = ThreadPoolExecutor(len(protocols))
        self._clients: list[Future[None]] = []
        self._senders: list[Sender] = []
        self._steps = [0] * len(protocols)  # chunks sent, by client

    def __enter__(self) -> BackgroundLoad:
        self._clients = [self._threads.submit(self._send, *each) for each in enumerate(self._speakers)]
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        """Let the clients finish their files, unless something has failed."""
        self._over.set()
        for each in list(self._senders) if failed else []:
            each.patience = 0
        self._threads.shutdown()
        if not failed:
            self.check()

    def check(self) -> None:
        """Raise the AssertionError of a client that gave up."""
        for each in self._clients:
            if each.done():
                each.result()

    def await_progress(self) -> None:
        """Return when every client has sent two more chunks and got the answers."""
        before, began = list(self._steps), time.monotonic()
        while any(now < then + 2 for now, then in zip(self._steps, before, strict=True)):
            self.check()
            assert time.monotonic() - began < PATIENCE, "a client makes no progress"
            time.sleep(0.01)

    def _send(self, number: int, protocol: WireProtocol) -> None:
        chance = random.Random(f"{self._seed} {number}")
        while not self._over.is_set():
            content = images.noise(chance, chance.randrange(1, self._largest))
            sender = Sender(self._service.port, self._service.directory / "images", content, self._headers)
            self._senders.append(sender)
            sender.create(protocol)
            while sender.missing:
                sender.go_on(protocol, chance, chance.choice([16 * KIB, 256 * KIB]))
                self._steps[number] += 1
            sender.finish()
            self._senders.remove(sender)
            self.finished += 1
            self.refused += sender.refused
