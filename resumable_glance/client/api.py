"""The requests of the service, one method each. Every method sends its request once and returns an ApiResponse.

There are no retries here: client.plan and client.retry decide about them.
"""

from __future__ import annotations

import base64
import contextlib
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

from resumable_glance.client.cloud import Cloud
from resumable_glance.client.errors import ClientError
from resumable_glance.client.image_file import ChunkBody, ImageFile
from resumable_glance.client.plan import Action, ApiResponse, decide
from resumable_glance.client.retry import RetryPolicy
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State

if TYPE_CHECKING:
    import requests

SERVICE_TYPE = "image-upload"  # in Keystone's catalog
URL_VARIABLE = "RESUMABLE_GLANCE_URL"
DEVELOPMENT_URL = "http://127.0.0.1:8970"  # the default of `resumable-glance serve --dev`
# Seconds to connect, and to read. urllib3 uses the first also as the time in which each piece of a body must be sent.
TIMEOUT = (30.0, 120.0)
ZEROS = "application/vnd.resumable-glance.zeros"  # advertised by services that accept declared zeros
_MOUNT = "/v1/uploads"


@dataclass(frozen=True, slots=True)
class UploadView:
    """An upload as the service shows it. `size` and `delivered` in bytes."""

    id: str
    state: State
    size: int
    image_id: str
    durable: tuple[Range, ...]
    delivered: int
    last_error: str | None
    hashes: Mapping[str, str] | None

    @classmethod
    def parse(cls, response: ApiResponse) -> UploadView:
        """Return the upload in a response. Raise ClientError if there is none."""
        document = response.document
        try:
            handoff = document["handoff"]
            return cls(
                id=document["id"],
                state=State(document["state"]),
                size=document["size"],
                image_id=document["image"]["id"],
                durable=tuple(Range(first, last + 1) for first, last in document["ranges"]),
                delivered=handoff["delivered"],
                last_error=handoff["last_error"]["detail"] if handoff["last_error"] else None,
                hashes=document["hashes"],
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise ClientError(
                f"The response cannot be understood ({problem!r}): do client and service have the same version?"
            ) from None

    @property
    def received(self) -> int:
        """The number of durable bytes."""
        return sum(each.length for each in self.durable)


class ApiClient:
    """One resumable-glance service as one user sees it. Safe to use from several threads."""

    def __init__(self, cloud: Cloud, url: str) -> None:
        """Raise ClientError if `url` is not the URL of a service."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ClientError(f"{url!r} is not the URL of a service: write http(s)://HOST[:PORT][/PATH].")
        self.url = url.rstrip("/")
        self._cloud = cloud

    def identity(self) -> ApiResponse:
        """Return PROJECT_ID/USER_ID from Keystone as `identity` in the document; empty without Keystone."""

        def ask() -> ApiResponse:
            session = self._cloud.session
            user = f"{session.get_project_id()}/{session.get_user_id()}" if self._cloud.authenticated else ""
            return ApiResponse(200, document={"identity": user})

        return _caught(ask)

    def describe(self) -> ApiResponse:
        """Get the capabilities of the service."""
        return self._request("GET", "/")

    def create(self, request: Mapping[str, object], key: str) -> ApiResponse:
        """Create an upload; the same idempotency key gives the same upload again after a lost response."""
        return self._request("POST", _MOUNT, json=request, headers={"Idempotency-Key": f'"{key}"'})

    def get(self, upload_id: str) -> ApiResponse:
        return self._request("GET", f"{_MOUNT}/{upload_id}")

    def receipt(self, upload_id: str) -> ApiResponse:
        return self._request("GET", f"{_MOUNT}/{upload_id}/receipt")

    def keys(self) -> ApiResponse:
        """Get the public keys of receipts."""
        return self._request("GET", "/v1/keys")

    def retry(self, upload_id: str) -> ApiResponse:
        return self._request("POST", f"{_MOUNT}/{upload_id}/retry")

    def cancel(self, upload_id: str) -> ApiResponse:
        return self._request("DELETE", f"{_MOUNT}/{upload_id}")

    def list_uploads(self, marker: str | None = None, all_projects: bool = False) -> ApiResponse:
        """Get a page of the user's uploads, or of all projects' uploads, newest first, after the id `marker`."""
        query = {"marker": marker, "all_projects": "1" if all_projects else None}  # requests leaves out None
        return self._request("GET", _MOUNT, params=query)

    def send(self, upload_id: str, file: ImageFile, chunk: Range) -> ApiResponse:
        """Send one chunk with its digest. Raise ClientError or image_file.Paused if the file cannot be read."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"bytes {chunk.start}-{chunk.stop - 1}/{file.size}",
            "Content-MD5": base64.b64encode(file.md5(chunk)).decode(),
        }
        body = ChunkBody(file, chunk)
        return self._request("PATCH", f"{_MOUNT}/{upload_id}", headers=headers, data=body, log=False)

    def declare_zeros(self, upload_id: str, size: int, run: Range) -> ApiResponse:
        """Declare a run of zeros in a file of `size` bytes instead of sending it."""
        headers = {"Content-Type": ZEROS, "Content-Range": f"bytes {run.start}-{run.stop - 1}/{size}"}
        return self._request("PATCH", f"{_MOUNT}/{upload_id}", headers=headers, data=b"", log=False)

    def image(self, image_id: str) -> ApiResponse | None:
        """Get the image from Glance itself; None without Keystone, and hence without Glance."""
        if not self._cloud.authenticated:
            return None

        def ask() -> ApiResponse:
            base = _endpoint(self._cloud, "image")
            if base is None:
                return ApiResponse(None, "the catalog has no image service")
            url = f"{base.rstrip('/').removesuffix('/v2')}/v2/images/{image_id}"
            return _parsed(self._cloud.session.request(url, "GET", raise_exc=False, timeout=TIMEOUT))

        return _caught(ask)

    def _request(self, method: str, path: str, **options: Any) -> ApiResponse:
        options.setdefault("headers", {})["Accept"] = "application/json"
        session = self._cloud.session
        # On a 401 the session gets a new token and sends the request once more; ChunkBody can be read again.
        response = _caught(
            lambda: _parsed(session.request(self.url + path, method, raise_exc=False, timeout=TIMEOUT, **options))
        )
        if response.status == 401 and not self._cloud.authenticated:
            raise ClientError("The service requires credentials, and there are none: set --os-cloud or OS_* variables.")
        return response


def find_service(cloud: Cloud, url: str | None = None, retries: RetryPolicy | None = None) -> ApiClient:
    """Return the service at `url`, in RESUMABLE_GLANCE_URL, in Keystone's catalog, or of the development mode.

    Raise ClientError if the catalog has none. `retries` applies to Keystone.
    """

    def ask() -> ApiResponse:
        return ApiResponse(200, document={"url": _endpoint(cloud, SERVICE_TYPE)})

    url = url or os.environ.get(URL_VARIABLE) or (None if cloud.authenticated else DEVELOPMENT_URL)
    if not url:
        retries = retries or RetryPolicy(lambda _: None)
        url = retries.call(lambda: _caught(ask)).document["url"]
    if not url:
        raise ClientError(
            f"The catalog has no service of type {SERVICE_TYPE}. Ask the operator for its URL, and set it with "
            f"--service-url or {URL_VARIABLE}."
        )
    return ApiClient(cloud, url)


def _endpoint(cloud: Cloud, service_type: str) -> str | None:
    from keystoneauth1.exceptions import CatalogException

    try:
        return cloud.session.get_endpoint(
            service_type=service_type, interface=cloud.interface or "public", region_name=cloud.region_name
        )
    except CatalogException:
        return None


def _caught(request: Callable[[], ApiResponse]) -> ApiResponse:
    """Return the response, or one that says why there is none. Raise ClientError where a retry cannot help."""
    from keystoneauth1 import exceptions

    try:
        return request()
    except exceptions.HttpError as problem:  # Keystone's only: raise_exc=False everywhere else
        response = ApiResponse(problem.http_status, f"Keystone: {problem.message}", request_id=problem.request_id)
        if decide(response) is Action.RETRY:
            return response
        raise ClientError(f"Keystone refuses the credentials (--os-cloud, OS_* variables): {problem}") from None
    except (exceptions.ConnectionError, exceptions.DiscoveryFailure) as problem:
        if any(isinstance(each, ssl.SSLCertVerificationError) for each in _causes(problem)):
            raise ClientError(
                f"The certificate of the service is not trusted; --os-cacert names a file of trusted ones. {problem}"
            ) from None
        return ApiResponse(None, _cause(problem))
    except (exceptions.ClientException, exceptions.AuthPluginException) as problem:
        raise ClientError(f"Authentication failed: {problem}") from None


def _parsed(response: requests.Response) -> ApiResponse:
    document: object = None
    if "json" in response.headers.get("Content-Type", ""):
        with contextlib.suppress(ValueError, RecursionError):
            document = response.json()
    known: Mapping[str, Any] = document if isinstance(document, dict) else {}
    request_id = known.get("request_id") or response.headers.get("X-Openstack-Request-Id")
    return ApiResponse(
        status=response.status_code,
        detail=str(
            known.get("detail") or f"The status was {response.status_code} {response.reason or ''}".rstrip() + "."
        ),
        document=known,
        request_id=str(request_id) if request_id else None,
        retry_after=_seconds(response.headers.get("Retry-After")),
    )


def _seconds(text: str | None) -> float | None:
    """Return Retry-After (RFC 9110, section 10.2.3) in seconds; None if it is neither seconds nor a date."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):  # OverflowError: a year out of range
        return None


def _cause(problem: BaseException) -> str:
    """Return in a few words why no response arrived."""
    causes = list(_causes(problem))
    if any(isinstance(each, socket.gaierror) for each in causes):
        return "its name cannot be resolved"
    for each in reversed(causes):
        if isinstance(each, OSError) and each.errno and each.strerror:
            return each.strerror[0].lower() + each.strerror[1:]
    if any(isinstance(each, TimeoutError) for each in causes):
        return "no response in time"
    if any(isinstance(each, (ConnectionError, http.client.HTTPException)) for each in causes):
        return "connection closed"
    return str(problem)


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, down to the root."""
    cause: BaseException | None = problem
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
