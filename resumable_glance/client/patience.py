"""How failures are waited out: longer each time, said once, and for as long as the user wants."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from resumable_glance.client import Failure
from resumable_glance.client.plan import Action, Answer, Decision, decide, delay, explain

WORTH_SAYING = 3  # failures in a row; fewer are over before a person has read about them


class Gone(Failure):
    """The service knows the upload no more."""


class Patience:
    """`say` is given sentences for the user; `give_up_after` is in seconds, None for never."""

    def __init__(self, say: Callable[[str], None], give_up_after: float | None = None) -> None:
        self._say = say
        self._give_up_after = give_up_after
        self._attempts = 0
        self._since = 0.0  # when the failures began
        self._said = False

    def ask(self, question: Callable[[], Answer], calms: bool = True) -> Answer:
        """Ask until there is an answer that says yes. Failure if it is no, Gone if the upload is.

        Without `calms` a yes does not end a row of failures: that we can ask does not mean that we can send.
        """
        while True:
            answer = question()
            decision = decide(answer)
            match decision.action:
                case Action.DONE:
                    if calms:
                        self.calm()
                    return answer
                case Action.RETRY:
                    self.wait(decision)
                case Action.GONE:
                    raise Gone(decision.detail)
                case _:
                    raise Failure(explain(answer))

    def wait(self, decision: Decision) -> None:
        """Wait before the next attempt. Failure if it has been going on for longer than the user wants."""
        now = time.monotonic()
        if self._attempts == 0:
            self._since = now
        self._attempts += 1
        reason = decision.detail.rstrip(".")
        if self._give_up_after is not None and now - self._since >= self._give_up_after:
            raise Failure(f"Given up after {now - self._since:.0f} s ({reason}). The same command goes on later.")
        if self._attempts >= WORTH_SAYING and not self._said:
            self._said = True
            self._say(f"waiting for the service ({reason}); Ctrl-C pauses, and the same command resumes")
        pause = delay(self._attempts, random.random(), decision.after)
        if self._give_up_after is not None:
            pause = min(pause, max(0.1, self._since + self._give_up_after - now))
        time.sleep(pause)

    def calm(self) -> None:
        """Something was achieved."""
        if self._said:
            self._say("the service is back")
        self._attempts, self._said = 0, False
