"""The service's requests. Each is one method, sent once, and gives an Answer, also where nobody answered.

Its one rule: nothing is tried again here, since only client.plan and client.patience know what that means.
"""

from __future__ import annotations

import base64
import email.utils
import http.client
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from resumable_glance.client import Failure
from resumable_glance.client.cloud import Cloud
from resumable_glance.client.imagefile import ChunkBody, ImageFile
from resumable_glance.client.patience import Patience
from resumable_glance.client.plan import Action, Answer, decide
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State

if TYPE_CHECKING:
    import requests

SERVICE_TYPE = "image-upload"  # in Keystone's catalogue
URL_VARIABLE = "RESUMABLE_GLANCE_URL"
DEVELOPMENT_URL = "http://127.0.0.1:8970"  # where `resumable-glance serve --dev` listens
# Seconds. urllib3 takes the first also as the time in which each piece of a body must get away.
TIMEOUT = (30.0, 120.0)
_MOUNT = "/v1/uploads"
ZEROS = "application/vnd.resumable-glance.zeros"  # a service that takes it says so


@dataclass(frozen=True, slots=True)
class Seen:
    """An upload as the service shows it. `size` and `delivered` in bytes."""

    id: str
    state: State
    size: int
    image_id: str
    durable: tuple[Range, ...]
    delivered: int
    trouble: str | None
    hashes: Mapping[str, str] | None

    @classmethod
    def parse(cls, answer: Answer) -> Seen:
        """Failure if it is not an upload."""
        document: Any = answer.document
        try:
            handoff = document["handoff"]
            return cls(
                id=document["id"],
                state=State(document["state"]),
                size=document["size"],
                image_id=document["image"]["id"],
                durable=tuple(Range(first, last + 1) for first, last in document["ranges"]),
                delivered=handoff["delivered"],
                trouble=handoff["last_error"]["detail"] if handoff["last_error"] else None,
                hashes=document["hashes"],
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise Failure(
                f"The service's answer can't be understood ({problem!r}): is its version another one?"
            ) from None


class Service:
    """One resumable-glance service, as one user sees it. May be used by several threads."""

    def __init__(self, cloud: Cloud, url: str) -> None:
        """Failure if `url` is not one."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise Failure(f"{url!r} is not the URL of a service: write http(s)://HOST[:PORT][/PATH].")
        self.url = url.rstrip("/")
        self._cloud = cloud

    def identity(self) -> Answer:
        """Asks Keystone who we are: project and user id in the document, both empty without Keystone."""

        def ask() -> Answer:
            session = self._cloud.session
            user = f"{session.get_project_id()}/{session.get_user_id()}" if self._cloud.authenticated else ""
            return Answer(200, document={"identity": user})

        return _answered(ask)

    def describe(self) -> Answer:
        """What the service can do."""
        return self._request("GET", "/")

    def create(self, request: Mapping[str, object], key: str) -> Answer:
        """A new upload; with the same key the same one again, if the answer was lost."""
        return self._request("POST", _MOUNT, json=request, headers={"Idempotency-Key": f'"{key}"'})

    def inspect(self, upload_id: str) -> Answer:
        return self._request("GET", f"{_MOUNT}/{upload_id}")

    def receipt(self, upload_id: str) -> Answer:
        return self._request("GET", f"{_MOUNT}/{upload_id}/receipt")

    def keys(self) -> Answer:
        """The public keys of receipts."""
        return self._request("GET", "/v1/keys")

    def retry(self, upload_id: str) -> Answer:
        return self._request("POST", f"{_MOUNT}/{upload_id}/retry")

    def cancel(self, upload_id: str) -> Answer:
        return self._request("DELETE", f"{_MOUNT}/{upload_id}")

    def survey(self, marker: str | None = None, all_projects: bool = False) -> Answer:
        """The user's uploads, or everybody's, newest first; those after `marker`."""
        asked = {} if marker is None else {"marker": marker}
        return self._request("GET", _MOUNT, params=asked | ({"all_projects": "1"} if all_projects else {}))

    def send(self, upload_id: str, file: ImageFile, chunk: Range) -> Answer:
        """One chunk with its digest. Failure or imagefile.Paused if the file can't be read to its end."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"bytes {chunk.start}-{chunk.stop - 1}/{file.size}",
            "Content-MD5": base64.b64encode(file.digest(chunk, "md5")).decode(),
        }
        body = ChunkBody(file, chunk)
        return self._request("PATCH", f"{_MOUNT}/{upload_id}", headers=headers, data=body, log=False)

    def declare_zeros(self, upload_id: str, size: int, run: Range) -> Answer:
        """A run of zeros in a file of `size` bytes, which is not sent."""
        headers = {"Content-Type": ZEROS, "Content-Range": f"bytes {run.start}-{run.stop - 1}/{size}"}
        return self._request("PATCH", f"{_MOUNT}/{upload_id}", headers=headers, data=b"", log=False)

    def image(self, image_id: str) -> Answer | None:
        """The image as Glance itself shows it; None where there is no Glance to ask."""
        if not self._cloud.authenticated:
            return None

        def ask() -> Answer:
            base = _endpoint(self._cloud, "image")
            if base is None:
                return Answer(None, "the catalogue has no image service")
            url = f"{base.rstrip('/').removesuffix('/v2')}/v2/images/{image_id}"
            return _parsed(self._cloud.session.request(url, "GET", raise_exc=False, timeout=TIMEOUT))

        return _answered(ask)

    def _request(self, method: str, path: str, **options: Any) -> Answer:
        options.setdefault("headers", {})["Accept"] = "application/json"
        session = self._cloud.session
        # On a 401 the session gets a fresh token and sends once more by itself; ChunkBody can be sent again.
        answer = _answered(
            lambda: _parsed(session.request(self.url + path, method, raise_exc=False, timeout=TIMEOUT, **options))
        )
        if answer.status == 401 and not self._cloud.authenticated:
            raise Failure("The service wants to know who you are, and there are no credentials (--os-cloud, OS_*).")
        return answer


def find(cloud: Cloud, given: str | None, patience: Patience) -> Service:
    """The service: as given, as in the environment, as in the catalogue, or the one of the development mode.

    Failure if the catalogue has none. `patience` waits for Keystone.
    """
    url = given or os.environ.get(URL_VARIABLE)
    if not url and not cloud.authenticated:
        url = DEVELOPMENT_URL
    if not url:
        url = _from_catalogue(cloud, patience)
    if not url:
        raise Failure(
            f"The catalogue has no service of type {SERVICE_TYPE}. Ask the operator for its URL and give it with "
            f"--service-url or {URL_VARIABLE}."
        )
    return Service(cloud, url)


def _from_catalogue(cloud: Cloud, patience: Patience) -> str | None:
    found: list[str | None] = []

    def ask() -> Answer:
        found.append(_endpoint(cloud, SERVICE_TYPE))
        return Answer(200)

    patience.ask(lambda: _answered(ask))
    return found[-1]


def _endpoint(cloud: Cloud, service_type: str) -> str | None:
    from keystoneauth1.exceptions import CatalogException

    try:
        return cloud.session.get_endpoint(
            service_type=service_type, interface=cloud.interface or "public", region_name=cloud.region_name
        )
    except CatalogException:
        return None


def _answered(ask: Callable[[], Answer]) -> Answer:
    """What `ask` gives, or an Answer that says why there is none. Failure where it is hopeless."""
    from keystoneauth1 import exceptions

    try:
        return ask()
    except exceptions.HttpError as problem:  # only Keystone's: ours and Glance's do not raise
        answer = Answer(problem.http_status, f"Keystone: {problem.message}", request_id=problem.request_id)
        if decide(answer).action is Action.RETRY:
            return answer
        raise Failure(f"Keystone does not accept the credentials (--os-cloud, OS_*): {problem}") from None
    except exceptions.SSLError as problem:
        if any(isinstance(each, ssl.SSLCertVerificationError) for each in _causes(problem)):
            raise Failure(
                f"The service's certificate is not trusted; --os-cacert names one that is. {problem}"
            ) from None
        return Answer(None, _plainly(problem))
    except (exceptions.ConnectionError, exceptions.DiscoveryFailure) as problem:
        return Answer(None, _plainly(problem))
    except (exceptions.ClientException, exceptions.AuthPluginException) as problem:
        raise Failure(f"Authentication does not work: {problem}") from None


def _parsed(response: requests.Response) -> Answer:
    document: object = None
    if "json" in response.headers.get("Content-Type", ""):
        try:
            document = response.json()
        except (ValueError, RecursionError):
            document = None
    known: Mapping[str, Any] = document if isinstance(document, dict) else {}
    request_id = known.get("request_id") or response.headers.get("X-Openstack-Request-Id")
    return Answer(
        status=response.status_code,
        detail=str(
            known.get("detail") or f"The answer was {response.status_code} {response.reason or ''}".rstrip() + "."
        ),
        document=known,
        request_id=str(request_id) if request_id else None,
        retry_after=_seconds(response.headers.get("Retry-After")),
    )


def _seconds(text: str | None) -> float | None:
    """Retry-After (RFC 9110, section 10.2.3): seconds or a date; None for anything else."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):  # a year that is too far away
        return None


def _plainly(problem: BaseException) -> str:
    """Why there was no answer, in a few words."""
    causes = list(_causes(problem))
    if any(isinstance(each, socket.gaierror) for each in causes):
        return "its name can't be resolved"
    for each in reversed(causes):
        if isinstance(each, OSError) and each.errno and each.strerror:
            return each.strerror[0].lower() + each.strerror[1:]
    if any(isinstance(each, TimeoutError) for each in causes):
        return "no answer in time"
    if any(isinstance(each, (ConnectionError, http.client.HTTPException)) for each in causes):
        return "connection closed"
    return str(problem)


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """A problem and what led to it, down to the root."""
    cause: BaseException | None = problem
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
