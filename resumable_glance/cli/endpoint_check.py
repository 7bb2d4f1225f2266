"""The parts of `check --url`: the service as clients meet it, through TLS and proxies.

It needs no token and creates nothing: the service refuses a request for an unknown upload before it reads the body, and
with a problem type of its own. Any other response, or none, comes from something in between.
"""

from __future__ import annotations

import datetime
import email.message
import functools
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from resumable_glance.api.cors import METHODS, REQUEST_HEADERS, RESPONSE_HEADERS
from resumable_glance.cli.report import Arguments, CheckFailed, print_line, run_part
from resumable_glance.client.plan import problem_reason
from resumable_glance.runtime.config import is_loopback

TIMEOUT = 30.0  # seconds for an ordinary response
PROMPT = 5.0  # seconds for a refusal that must not wait for the body, besides three times the first response's
LONGEST_STALL = 150.0  # seconds after which a stalled request should have been ended
EXPIRES_SOON = datetime.timedelta(days=14)
LARGE_HEAD = 64 * 1024  # bytes
UNKNOWN_ID = "a-" + "0" * 32

# The headers of a chunk in each protocol.
_CHUNK_HEADERS: Mapping[str, Mapping[str, str]] = {
    "/v1/uploads": {"Content-Range": "bytes 0-0/1", "Content-Type": "application/octet-stream"},
    "/v1/tus": {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"},
    "/v1/rufh": {"Upload-Draft-Interop-Version": "8", "Upload-Offset": "0", "Upload-Complete": "?1",
                 "Content-Type": "application/partial-upload"},
}  # fmt: skip
# Headers that the service refuses as malformed if their nonsense arrives.
_DIGEST_HEADERS = [("/v1/uploads", "Content-MD5"), ("/v1/uploads", "Content-Digest"), ("/v1/uploads", "Repr-Digest"),
                   ("/v1/tus", "Upload-Checksum")]  # fmt: skip
_RESPONSE_HEADERS: Mapping[str, Sequence[str]] = {
    "/v1/uploads": ("Allow", "Accept-Patch"),
    "/v1/tus": ("Tus-Version", "Tus-Extension", "Tus-Max-Size"),
    "/v1/rufh": ("Accept-Patch", "Upload-Limit"),
}
_EXPECTED = {"unknown-upload", "unauthenticated"}
_NOT_TESTED = "not tested: name the service's configuration (--config-file), as a user that may read its key file"
_PASS_ALL = "Let the proxy pass all headers, methods and responses unchanged."


@dataclass(frozen=True, slots=True)
class EndpointResponse:
    """A response at the public address: `document` is the JSON object of its body, `seconds` the time it took."""

    status: int
    headers: email.message.Message
    document: Mapping[str, Any]
    seconds: float

    @property
    def reason(self) -> str | None:
        """The reason of a refusal by the service; None if it did not refuse, or something else responded."""
        return problem_reason(self.document)

    def __str__(self) -> str:
        server = self.headers.get("Server", "")
        return f"{self.status} {http.client.responses.get(self.status, '')}" + (f" from {server}" if server else "")


class Endpoint:
    """The service at its public address. Every request is sent once and unchanged, without retries or redirects."""

    def __init__(self, url: str, ca_file: str | None = None, ticket: str | None = None) -> None:
        """`ca_file` has certificates of further authorities; `ticket` is one for UNKNOWN_ID.

        Raise CheckFailed, or OSError for that file.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CheckFailed(f"{url!r} is not an address", "Write https://HOST[:PORT][/PATH].")
        self.url = url.rstrip("/")
        self.host, self.port = parts.hostname, parts.port
        self.secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/")
        self._credentials = {"Authorization": f"Bearer {ticket}"} if ticket else {}
        self._context = ssl.create_default_context()
        if ca_file:
            self._context.load_verify_locations(ca_file)

    def connection(self) -> http.client.HTTPConnection:
        if self.secure:
            return http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT, context=self._context)
        return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)

    @functools.cached_property
    def description(self) -> EndpointResponse:
        """The first response, with the capabilities of the service. Raise OSError as request() does."""
        return self.request("GET", "/", {"Accept": "application/json"})

    @functools.cached_property
    def admits(self) -> bool:
        """Whether the service admits our requests; it parses nothing of other ones."""
        return self.request("GET", f"/v1/uploads/{UNKNOWN_ID}", self._credentials).reason == "unknown-upload"

    def admitted(
        self, method: str, path: str, headers: Mapping[str, str] = {}, body: bytes = b"", timeout: float = TIMEOUT
    ) -> EndpointResponse:
        """Send a request with our credentials, as request() does."""
        return self.request(method, path, {**self._credentials, **headers}, body, timeout)

    def request(
        self, method: str, path: str, headers: Mapping[str, str] = {}, body: bytes = b"", timeout: float = TIMEOUT
    ) -> EndpointResponse:
        """Send `body`, even if the headers announce more. Raise OSError if no response comes in `timeout` seconds."""
        length = {"Content-Length": str(len(body))} if body else {}
        connection = self.connection()
        try:
            start = time.monotonic()
            connection.putrequest(method, self._path + path, skip_accept_encoding=True)
            for name, value in {**length, **headers}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            connection.sock.settimeout(timeout)
            response = connection.getresponse()
            document = _json_object(response.read())
            return EndpointResponse(response.status, response.headers, document, time.monotonic() - start)
        except http.client.HTTPException as problem:
            raise ConnectionError(f"the connection ended without a response ({type(problem).__name__})") from problem
        finally:
            connection.close()


def run(url: str, origins: Sequence[str], ca_file: str | None, ticket: str | None) -> int:
    """Print a line for each part. Return 0 if all of them are ok, 1 if not."""
    try:
        endpoint = Endpoint(url, ca_file, ticket)
    except (CheckFailed, OSError) as problem:
        step = getattr(problem, "next_step", "Name a PEM file of certificates with --ca-file.")
        print_line("address", "FAIL", str(problem), step)
        return 1
    if run_part("address", _address, endpoint) or run_part("service", _service, endpoint):
        return 1
    failed = run_part("links", _links, endpoint)
    if run_part("headers", _connected, _headers, endpoint):
        return 1  # the remaining parts depend on the headers, and their failures would mislead
    for origin in origins:
        failed |= run_part("pages", _connected, _pages, endpoint, origin)
    failed |= run_part("heads", _connected, _heads, endpoint)
    if run_part("bodies", _connected, _bodies, endpoint):
        return 1  # a stalled body would not reach the service
    return failed | run_part("stalls", _stalls, endpoint)


def _connected(part: Callable[[*Arguments], str], *arguments: *Arguments) -> str:
    try:
        return part(*arguments)
    except OSError as problem:
        step = "Earlier requests succeeded: check whether network and proxy are stable."
        raise CheckFailed(f"no response: {problem}", step) from problem


def _json_object(content: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _address(endpoint: Endpoint) -> str:
    if not endpoint.secure and not is_loopback(endpoint.host):
        raise CheckFailed(f"{endpoint.url} is not encrypted", "Use TLS: otherwise tokens can be read on the way.")
    try:
        connection = endpoint.connection()
        connection.connect()
        certificate = connection.sock.getpeercert() if isinstance(connection.sock, ssl.SSLSocket) else None
        connection.close()
    except OSError as problem:
        raise CheckFailed(*_unreachable(endpoint, problem)) from problem
    return endpoint.url + (f", certificate {_expiry(certificate)}" if certificate else "")


def _unreachable(endpoint: Endpoint, problem: OSError) -> tuple[str, str]:
    """Return why there is no connection, and the next step. The codes of certificates are OpenSSL's verify results."""
    match problem:
        case ssl.SSLCertVerificationError(verify_code=10):
            return "the certificate has expired", "Renew it, and reload the proxy."
        case ssl.SSLCertVerificationError(verify_code=62 | 64):
            step = "Get one that has this name as a subject alternative name."
            return f"the certificate is not for {endpoint.host}", step
        case ssl.SSLCertVerificationError(verify_code=2 | 18 | 19 | 20 | 21):
            step = "Let the proxy send the intermediate certificates; for an authority of your own use --ca-file."
            return f"the certificate authority is not trusted: {problem.verify_message}", step
        case ssl.SSLCertVerificationError():
            return f"the certificate is not valid: {problem.verify_message}", "Get a new one."
        case ssl.SSLError():
            return f"no TLS: {problem.reason}", "Check that the proxy speaks TLS 1.2 or newer at this port."
        case socket.gaierror():
            return f"{endpoint.host} cannot be resolved: {problem.strerror}", "Check the name, and DNS."
        case _:
            return f"{endpoint.url} cannot be reached: {problem}", "Check that the proxy is running, and firewalls."


def _expiry(certificate: Mapping[str, Any]) -> str:
    ends = datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), datetime.UTC)
    soon = ends - datetime.datetime.now(datetime.UTC) < EXPIRES_SOON
    return f"until {ends:%Y-%m-%d}" + (", which is soon" if soon else "")


def _service(endpoint: Endpoint) -> str:
    try:
        response = endpoint.description
    except OSError as problem:
        step = "Check the address of the service in the proxy's configuration."
        raise CheckFailed(f"no response: {problem}", step) from problem
    if response.document.get("name") != "resumable-glance":
        step = "Check that this is the address of resumable-glance, and which path the proxy passes on."
        if response.status >= 500:
            step = "Check that the service is running, and that the proxy reaches it."
        raise CheckFailed(f"the response is not from resumable-glance: {response}", step)
    return f"resumable-glance {response.document.get('version')}, in {response.seconds * 1000:.0f} ms"


def _links(endpoint: Endpoint) -> str:
    href = str(endpoint.description.document["protocols"]["tus"]["href"])
    if href.startswith(f"{endpoint.url}/"):
        return f"new uploads get addresses below {endpoint.url}"
    scheme = urlsplit(href).scheme
    if scheme != urlsplit(endpoint.url).scheme:
        step = "Set public_endpoint; or let the proxy send X-Forwarded-Proto, and name it in trusted_proxies."
        raise CheckFailed(f"new uploads get {scheme}:// addresses", step)
    step = "Set public_endpoint; or let the proxy pass the Host header unchanged, with its port."
    raise CheckFailed(f"new uploads get addresses below {href.removesuffix('/v1/tus')}", step)


def _headers(endpoint: Endpoint) -> str:
    _credential_headers(endpoint)
    _chunk_headers(endpoint)
    _response_headers(endpoint)
    if not endpoint.admits:
        return f"methods, credentials and refusals pass in every protocol; the headers of chunks are {_NOT_TESTED}"
    _digest_headers(endpoint)
    return "methods, headers and refusals pass in every protocol"


def _chunk_headers(endpoint: Endpoint) -> None:
    for mount, headers in _CHUNK_HEADERS.items():
        response = endpoint.admitted("PATCH", f"{mount}/{UNKNOWN_ID}", headers, b"x")
        if not response.reason:
            raise CheckFailed(f"PATCH does not reach the service, or its response is replaced: {response}", _PASS_ALL)
        if response.reason not in _EXPECTED:
            detail = response.document.get("detail")
            raise CheckFailed(f"{mount}: a header of the chunk is lost on the way ({detail})", _PASS_ALL)
        if "X-Openstack-Request-Id" not in response.headers:
            raise CheckFailed("X-Openstack-Request-Id is removed from responses", _PASS_ALL)


def _digest_headers(endpoint: Endpoint) -> None:
    for mount, name in _DIGEST_HEADERS:
        headers = {**_CHUNK_HEADERS[mount], name: "nonsense"}
        if endpoint.admitted("PATCH", f"{mount}/{UNKNOWN_ID}", headers, b"x").reason in _EXPECTED:
            raise CheckFailed(f"{name} is removed from requests", _PASS_ALL)


def _response_headers(endpoint: Endpoint) -> None:
    for mount, names in _RESPONSE_HEADERS.items():
        response = endpoint.request("OPTIONS", mount)
        for name in names:
            if name not in response.headers:
                raise CheckFailed(f"{name} is removed from responses, or the proxy responds to OPTIONS", _PASS_ALL)


def _credential_headers(endpoint: Endpoint) -> None:
    """The service refuses an invalid token with another sentence than a missing one."""
    bare = endpoint.request("GET", f"/v1/uploads/{UNKNOWN_ID}")
    for name, value in (("X-Auth-Token", "nonsense"), ("Authorization", "Bearer nonsense")):
        response = endpoint.request("GET", f"/v1/uploads/{UNKNOWN_ID}", {name: value})
        if bare.reason == "unauthenticated" and response.document.get("detail") == bare.document.get("detail"):
            raise CheckFailed(f"{name} is removed from requests", _PASS_ALL)


def _pages(endpoint: Endpoint, origin: str) -> str:
    headers = {"Origin": origin, "Access-Control-Request-Method": "PATCH",
               "Access-Control-Request-Headers": "x-auth-token,upload-offset"}  # fmt: skip
    preflight = endpoint.request("OPTIONS", "/v1/tus", headers)
    refused = endpoint.request("GET", f"/v1/uploads/{UNKNOWN_ID}", {"Origin": origin})
    for response in (preflight, refused):
        allowed = response.headers.get_all("Access-Control-Allow-Origin") or []
        if not allowed:
            step = f"Add {origin} to [cors] allowed_origin, exactly like this; or the proxy removes CORS headers."
            raise CheckFailed(f"pages of {origin} may not upload", step)
        if allowed != [origin]:
            step = "Let the proxy add no CORS headers: the service sends its own for each origin."
            raise CheckFailed(f"Access-Control-Allow-Origin is {' and '.join(allowed)}, not {origin}", step)
    if preflight.status != 204:
        raise CheckFailed(f"the proxy responds to the CORS preflight: {preflight}", "Let the proxy pass OPTIONS.")
    _contains("Access-Control-Allow-Methods", METHODS, preflight)
    _contains("Access-Control-Allow-Headers", REQUEST_HEADERS, preflight)
    _contains("Access-Control-Expose-Headers", RESPONSE_HEADERS, refused)
    return f"pages of {origin} may upload, and read all responses"


def _contains(name: str, expected: Sequence[str], response: EndpointResponse) -> None:
    found = {each.strip().lower() for each in response.headers.get(name, "").split(",")}
    missing = [each for each in expected if each.lower() not in found]
    if missing:
        step = "Let the proxy add no CORS headers; check that the service has the version of this command."
        raise CheckFailed(f"{name} lacks {', '.join(missing)}", step)


def _bodies(endpoint: Endpoint) -> str:
    """The service refuses the largest chunk before it reads the body; a proxy that buffers waits for the body."""
    first = endpoint.description
    largest = int(first.document["protocols"]["native"]["chunks"]["max_size"])
    headers = {**_CHUNK_HEADERS["/v1/uploads"], "Content-Range": f"bytes 0-{largest - 1}/{largest}",
               "Content-Length": str(largest)}  # fmt: skip
    timeout = PROMPT + 3 * first.seconds
    try:
        response = endpoint.request("PATCH", f"/v1/uploads/{UNKNOWN_ID}", headers, timeout=timeout)
    except TimeoutError:
        step = "nginx: proxy_request_buffering off; others: stream request bodies."
        raise CheckFailed("a proxy buffers request bodies", step) from None
    if response.reason in _EXPECTED:
        return f"chunks of up to {largest} bytes are passed on as they arrive"
    if response.status == 413:
        step = "nginx: client_max_body_size 0; or lower max_chunk_size to the limit of the proxy."
        raise CheckFailed(f"a proxy limits request bodies, and refuses a chunk of {largest} bytes: {response}", step)
    raise CheckFailed(f"a proxy refuses a large chunk: {response}", _PASS_ALL)


def _heads(endpoint: Endpoint) -> str:
    response = endpoint.request("GET", f"/v1/uploads/{UNKNOWN_ID}", {"X-Padding": "x" * LARGE_HEAD})
    if response.reason in _EXPECTED:
        return f"request heads of {LARGE_HEAD // 1024} KiB pass, enough to join hundreds of parts (tus)"
    step = "nginx: large_client_header_buffers 4 128k; HAProxy: tune.bufsize 131072."
    raise CheckFailed(f"a proxy refuses request heads of {LARGE_HEAD // 1024} KiB: {response}", step)


def _stalls(endpoint: Endpoint) -> str:
    """The service has to be the one that ends a stalled request, since it alone can say which bytes it kept."""
    if not endpoint.admits:
        return f"stalled requests are {_NOT_TESTED}"
    headers = {"Content-Type": "application/json", "Content-Length": "100"}
    start = time.monotonic()
    try:
        response = endpoint.admitted("POST", "/v1/uploads", headers, b'{"size": ', LONGEST_STALL)
        ended_by_service, ending = response.reason == "stalled", str(response)
    except TimeoutError:
        step = "Lower idle_timeout, and check that the proxy does not buffer request bodies."
        raise CheckFailed(f"a stalled request was still open after {LONGEST_STALL:.0f} s", step) from None
    except OSError as problem:
        ended_by_service, ending = False, str(problem)
    seconds = time.monotonic() - start
    if ended_by_service:
        return f"the service ends stalled requests after {seconds:.0f} s, before any proxy does"
    raise CheckFailed(
        f"a proxy ended a stalled request after {seconds:.0f} s: {ending}",
        "Set all timeouts of the proxy above idle_timeout (nginx: client_body_timeout 120s; HAProxy: timeout client "
        "120s).",
    )
