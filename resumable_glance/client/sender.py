"""Sends what is missing, several chunks at once.

The calling thread decides everything; the others only send. What they have done comes back through a queue.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from resumable_glance.client import Failure
from resumable_glance.client.connection import Seen, Service
from resumable_glance.client.imagefile import ImageFile, Paused
from resumable_glance.client.patience import Patience
from resumable_glance.client.plan import Action, Answer, Sending, decide
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State

GRACE = 5.0  # seconds in which chunks on their way may still arrive after Ctrl-C


@dataclass(frozen=True, slots=True)
class _Task:
    chunk: Range
    turn: int  # the number of failures that were dealt with before it was begun
    zeros: bool = False  # declared, not sent


@dataclass(frozen=True, slots=True)
class _Outcome:
    task: _Task
    answer: Answer | BaseException
    seconds: float


class Sender:
    """Sends one upload's missing bytes. `tell` is given the number of bytes that are durable.

    `declares`: the service takes runs of zeros without their bytes.
    """

    def __init__(
        self,
        service: Service,
        file: ImageFile,
        patience: Patience,
        parallel: int,
        say: Callable[[str], None],
        tell: Callable[[int], None],
        *,
        declares: bool = False,
    ) -> None:
        self._service = service
        self._file = file
        self._patience = patience
        self._parallel = parallel
        self._say = say
        self._tell = tell
        self._declares = declares
        self._turn = 0
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()

    def run(self, seen: Seen, chunk_size: int) -> None:
        """Until all bytes are durable, or the service says that it wants no more.

        Raises Failure, Gone, or KeyboardInterrupt after what was on its way has arrived or has taken too long.
        """
        sending = Sending(seen.size, chunk_size, seen.durable, looks=self._declares)
        for hole in self._file.holes() if self._declares else ():
            sending.looked(hole, [hole])
        # Daemons: a thread that hangs in a dead connection must not keep the program from ending.
        threads = [
            threading.Thread(target=self._work, args=[seen.id], name=f"chunk-{number}", daemon=True)
            for number in range(self._parallel)
        ]
        for thread in threads:
            thread.start()
        try:
            self._send(seen.id, sending)
        except KeyboardInterrupt:
            self._say(f"pausing: chunks on their way have {GRACE:.0f} s to arrive; Ctrl-C again ends at once")
            self._drain(sending)
            raise
        except BaseException:
            self._file.stop.set()
            raise
        finally:
            for _ in threads:
                self._tasks.put(None)

    def _send(self, upload_id: str, sending: Sending) -> None:
        while not sending.complete:
            while len(sending.in_flight) < self._parallel and (chunk := self._next(sending)) is not None:
                self._tasks.put(_Task(chunk, self._turn, sending.zeros(chunk)))
            outcome = self._outcomes.get()
            if not self._took(outcome, sending) and not self._recover(upload_id, outcome, sending):
                return

    def _next(self, sending: Sending) -> Range | None:
        while (place := sending.unlooked()) is not None:
            sending.looked(place, self._file.zeros(place))
        return sending.next()

    def _took(self, outcome: _Outcome, sending: Sending) -> bool:
        if isinstance(outcome.answer, BaseException):
            raise outcome.answer
        if decide(outcome.answer).action is not Action.DONE:
            return False
        sending.succeeded(outcome.task.chunk, outcome.seconds)
        self._patience.calm()
        self._tell(sending.acknowledged)
        return True

    def _recover(self, upload_id: str, outcome: _Outcome, sending: Sending) -> bool:
        """After a failure: wait, and learn what is durable. False if the service takes no more bytes."""
        answer = outcome.answer
        if isinstance(answer, BaseException):
            raise answer
        decision = sending.failed(outcome.task.chunk, answer)
        if decision.action is Action.GIVE_UP:
            raise Failure(decision.detail)
        # Chunks that were on their way together fail together: that is one failure, waited for once.
        if decision.action is Action.RETRY and outcome.task.turn == self._turn:
            self._turn += 1
            self._patience.wait(decision)
        seen = Seen.parse(self._patience.ask(lambda: self._service.inspect(upload_id), calms=False))
        sending.learn(seen.durable)
        self._tell(sending.acknowledged)
        return seen.state is State.RECEIVING

    def _drain(self, sending: Sending) -> None:
        end = time.monotonic() + GRACE
        try:
            while sending.in_flight and (left := end - time.monotonic()) > 0:
                outcome = self._outcomes.get(timeout=left)
                if isinstance(outcome.answer, Answer) and decide(outcome.answer).action is Action.DONE:
                    sending.succeeded(outcome.task.chunk, outcome.seconds)
                    self._tell(sending.acknowledged)
                sending.in_flight.discard(outcome.task.chunk)
        except queue.Empty:
            pass
        finally:
            self._file.stop.set()

    def _work(self, upload_id: str) -> None:
        while (task := self._tasks.get()) is not None:
            answer: Answer | BaseException
            begun = time.monotonic()
            try:
                if task.zeros:
                    answer = self._service.declare_zeros(upload_id, self._file.size, task.chunk)
                else:
                    answer = self._service.send(upload_id, self._file, task.chunk)
            except Paused:
                return
            except BaseException as problem:
                answer = problem
            self._outcomes.put(_Outcome(task, answer, time.monotonic() - begun))
