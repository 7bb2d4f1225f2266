"""Retries: increasing delays, one message per outage, and an optional time limit."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from resumable_glance.client.errors import ClientError, UploadGone
from resumable_glance.client.plan import Action, ApiResponse, Decision, decide, delay, explain

ATTEMPTS_BEFORE_MESSAGE = 3  # shorter outages end before a person has read about them


class RetryPolicy:
    """Retries until a request succeeds or the time limit ends.

    `say` receives messages for people. `give_up_after` is in seconds without any success; None means never.
    """

    def __init__(self, say: Callable[[str], None], give_up_after: float | None = None) -> None:
        self._say = say
        self._give_up_after = give_up_after
        self._attempts = 0
        self._since = 0.0  # the time of the first failure in a row
        self._said = False

    def call(self, request: Callable[[], ApiResponse], resets: bool = True) -> ApiResponse:
        """Return the first successful response. Raise UploadGone, or ClientError for a final refusal.

        Without `resets` success does not end a row of failures: a link that can ask may still be unable to send.
        """
        while True:
            response = request()
            decision = decide(response)
            match decision.action:
                case Action.DONE:
                    if resets:
                        self.reset()
                    return response
                case Action.RETRY:
                    self.wait(decision)
                case Action.GONE:
                    raise UploadGone(decision.detail)
                case _:
                    raise ClientError(explain(response))

    def wait(self, decision: Decision) -> None:
        """Sleep before the next attempt. Raise ClientError after `give_up_after`."""
        now = time.monotonic()
        if self._attempts == 0:
            self._since = now
        self._attempts += 1
        reason = decision.detail.rstrip(".")
        if self._give_up_after is not None and now - self._since >= self._give_up_after:
            raise ClientError(
                f"Given up after {now - self._since:.0f} s ({reason}). Run the same command later to resume."
            )
        if self._attempts >= ATTEMPTS_BEFORE_MESSAGE and not self._said:
            self._said = True
            self._say(f"waiting for the service ({reason}); Ctrl-C pauses, the same command resumes")
        pause = delay(self._attempts, random.random(), decision.retry_after)
        if self._give_up_after is not None:
            pause = min(pause, max(0.1, self._since + self._give_up_after - now))
        time.sleep(pause)

    def reset(self) -> None:
        """Record a success."""
        if self._said:
            self._say("the service is back")
        self._attempts, self._said = 0, False
