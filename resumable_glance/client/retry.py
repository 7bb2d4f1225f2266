"""Retries: increasing delays, one message per outage, and an optional time limit."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

from resumable_glance.client.errors import ClientError, UploadGone
from resumable_glance.client.plan import Action, ApiResponse, decide, delay, explain

ATTEMPTS_BEFORE_MESSAGE = 3  # shorter outages end before a person has read about them


class RetryPolicy:
    """Retries until a request succeeds or the time limit ends.

    `say` receives messages for people. `give_up_after` is in seconds without any success; None means never.
    """

    def __init__(self, say: Callable[[str], None], give_up_after: float | None = None) -> None:
        self._say = say
        self._give_up_after = math.inf if give_up_after is None else give_up_after
        self._attempts = 0
        self._since = 0.0  # the time of the first failure in a row

    def call(self, request: Callable[[], ApiResponse], resets: bool = True) -> ApiResponse:
        """Return the first successful response. Raise UploadGone, or ClientError for a final refusal.

        Without `resets` success does not end a row of failures: a link that can ask may still be unable to send.
        """
        while True:
            response = request()
            match decide(response):
                case Action.DONE:
                    if resets:
                        self.reset()
                    return response
                case Action.RETRY:
                    self.wait(response)
                case Action.GONE:
                    raise UploadGone(response.detail)
                case _:
                    raise ClientError(explain(response))

    def wait(self, response: ApiResponse) -> None:
        """Sleep after a failure, before the next attempt. Raise ClientError after `give_up_after`."""
        now = time.monotonic()
        if self._attempts == 0:
            self._since = now
        self._attempts += 1
        reason = response.detail.rstrip(".")
        left = self._since + self._give_up_after - now
        if left <= 0:
            raise ClientError(
                f"Given up after {now - self._since:.0f} s ({reason}). Run the same command later to resume."
            )
        if self._attempts == ATTEMPTS_BEFORE_MESSAGE:
            self._say(f"waiting for the service ({reason}); Ctrl-C pauses, the same command resumes")
        time.sleep(min(delay(self._attempts, random.random(), response.retry_after), max(0.1, left)))

    def reset(self) -> None:
        """Record a success."""
        if self._attempts >= ATTEMPTS_BEFORE_MESSAGE:
            self._say("the service is back")
        self._attempts = 0
