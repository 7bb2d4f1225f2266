"""Parallel transfer of the missing chunks of one upload.

The calling thread makes all decisions; the others only send. Results come back through a queue.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

from resumable_glance.client.api import ApiClient, UploadView
from resumable_glance.client.errors import ClientError
from resumable_glance.client.image_file import ImageFile, Paused
from resumable_glance.client.plan import Action, ApiResponse, ChunkScheduler, decide, explain
from resumable_glance.client.progress import Progress
from resumable_glance.client.retry import RetryPolicy
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State

GRACE = 5.0  # seconds in which chunks in flight may still arrive after Ctrl-C


@dataclass(frozen=True, slots=True)
class _Task:
    chunk: Range
    outage: int  # the number of outages before it was begun
    zeros: bool = False  # to declare instead of to send


@dataclass(frozen=True, slots=True)
class _Result:
    task: _Task
    response: ApiResponse | BaseException
    seconds: float


class Sender:
    """Sends the missing bytes of one upload in `parallel` threads.

    With `declares`, the service accepts declared runs of zeros.
    """

    def __init__(
        self,
        api: ApiClient,
        file: ImageFile,
        retries: RetryPolicy,
        progress: Progress,
        *,
        parallel: int,
        declares: bool = False,
    ) -> None:
        self._api = api
        self._file = file
        self._retries = retries
        self._progress = progress
        self._parallel = parallel
        self._declares = declares
        self._outages = 0
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()

    def run(self, view: UploadView, chunk_size: int) -> None:
        """Send until all bytes are durable or the service accepts no more. `chunk_size` in bytes.

        Raise ClientError, UploadGone, or KeyboardInterrupt once the chunks in flight have arrived or GRACE has passed.
        """
        scheduler = ChunkScheduler(view.size, chunk_size, view.durable, scans=self._declares)
        for hole in self._file.holes() if self._declares else ():
            scheduler.scanned(hole, [hole])
        # Daemons, so that a thread stuck in a dead connection does not keep the program from ending.
        threads = [
            threading.Thread(target=self._work, args=[view.id], name=f"chunk-{number}", daemon=True)
            for number in range(self._parallel)
        ]
        for thread in threads:
            thread.start()
        try:
            self._send(view.id, scheduler)
        except KeyboardInterrupt:
            self._progress.say(f"pausing: chunks in flight have {GRACE:.0f} s to arrive; Ctrl-C again ends at once")
            self._drain(scheduler)
            raise
        except BaseException:
            self._file.stop.set()
            raise
        finally:
            for _ in threads:
                self._tasks.put(None)

    def _send(self, upload_id: str, scheduler: ChunkScheduler) -> None:
        while not scheduler.complete:
            while len(scheduler.in_flight) < self._parallel and (chunk := self._next(scheduler)) is not None:
                self._tasks.put(_Task(chunk, self._outages, scheduler.is_zeros(chunk)))
            result = self._results.get()
            if isinstance(result.response, BaseException):
                raise result.response
            if decide(result.response) is Action.DONE:
                self._succeeded(result, scheduler)
                self._retries.reset()
            elif not self._recover(upload_id, result.task, result.response, scheduler):
                return

    def _next(self, scheduler: ChunkScheduler) -> Range | None:
        while (place := scheduler.to_scan()) is not None:
            scheduler.scanned(place, self._file.zeros(place))
        return scheduler.next()

    def _succeeded(self, result: _Result, scheduler: ChunkScheduler) -> None:
        scheduler.succeeded(result.task.chunk, result.seconds)
        self._progress.update(scheduler.acknowledged)

    def _recover(self, upload_id: str, task: _Task, response: ApiResponse, scheduler: ChunkScheduler) -> bool:
        """Wait after a failure and get the durable ranges. Return False if the service accepts no more bytes."""
        action = scheduler.failed(task.chunk, response)
        if action is Action.GIVE_UP:
            raise ClientError(explain(response))
        # Chunks in flight at the same time fail together: that is one outage, waited for once.
        if action is Action.RETRY and task.outage == self._outages:
            self._outages += 1
            self._retries.wait(response)
        view = UploadView.parse(self._retries.call(lambda: self._api.get(upload_id), resets=False))
        scheduler.learn(view.durable)
        self._progress.update(scheduler.acknowledged)
        return view.state is State.RECEIVING

    def _drain(self, scheduler: ChunkScheduler) -> None:
        end = time.monotonic() + GRACE
        try:
            while scheduler.in_flight and (left := end - time.monotonic()) > 0:
                result = self._results.get(timeout=left)
                if isinstance(result.response, ApiResponse) and decide(result.response) is Action.DONE:
                    self._succeeded(result, scheduler)
                scheduler.in_flight.discard(result.task.chunk)
        except queue.Empty:
            pass
        finally:
            self._file.stop.set()

    def _work(self, upload_id: str) -> None:
        while (task := self._tasks.get()) is not None:
            response: ApiResponse | BaseException
            begun = time.monotonic()
            try:
                if task.zeros:
                    response = self._api.declare_zeros(upload_id, self._file.size, task.chunk)
                else:
                    response = self._api.send(upload_id, self._file, task.chunk)
            except Paused:
                return
            except BaseException as problem:
                response = problem
            self._results.put(_Result(task, response, time.monotonic() - begun))
