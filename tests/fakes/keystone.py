"""A stand-in for keystoneauth1's session.

It shows what a real Keystone can't be made to show on demand: that it is down or broken, how often it is asked.
"""

import datetime
import threading
from collections.abc import Callable, Mapping
from typing import cast

from keystoneauth1.session import Session

from resumable_glance.auth.keystone import KeystoneAuthenticator

TOKEN = "gAAAAA-a-good-token"
GOOD = {"x-auth-token": TOKEN}
FAR = 4_000_000_000.0  # seconds since the epoch
SCOPED = {
    "project": {"id": "p1", "name": "demo"},
    "user": {"id": "u1", "name": "alice"},
    "roles": [{"id": "r1", "name": "member"}, {"id": "r2", "name": "reader"}],
}


def shown(moment: float) -> str:
    """As Keystone writes it."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="microseconds")[:-6] + "Z"


class Answer:
    def __init__(self, status_code: int, document: object = None) -> None:
        self.status_code = status_code
        self._document = document

    def json(self) -> object:
        if self._document is None:
            raise ValueError("this is not JSON")
        return self._document


class Keystone:
    """Knows one good token, or answers each question by `answer`."""

    def __init__(self, expires_at: float = FAR, **token: object) -> None:
        self.questions: list[str] = []
        self.answer: Callable[[str], Answer] | None = None
        self.token: dict[str, object] = {**SCOPED, "expires_at": shown(expires_at), **token}
        self.threads: set[int] = set()
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def request(self, url: str, method: str, *, headers: Mapping[str, str], raise_exc: bool, **_: object) -> Answer:
        assert method == "GET"
        assert url.startswith("/auth/tokens")
        assert not raise_exc
        token = headers["X-Subject-Token"]
        self.questions.append(token)
        self.threads.add(threading.get_ident())
        self.asked.set()
        assert self.may_answer.wait(10)
        if self.answer is not None:
            return self.answer(token)
        return Answer(200, {"token": self.token}) if token == TOKEN else Answer(404, {"error": {}})


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def authenticator(
    keystone: Keystone, cache_time: float = 60.0, clock: Callable[[], float] | None = None
) -> KeystoneAuthenticator:
    return KeystoneAuthenticator(cast(Session, keystone), cache_time, clock or Clock())
