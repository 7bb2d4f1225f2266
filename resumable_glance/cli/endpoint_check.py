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
from resumable_glance.cli.report import CheckFailed, print_line, run_part
from resumable_glance.client.plan import problem_reason
from resumable_glance.runtime.config import is_loopback

TIMEOUT = 30.0  # seconds for an ordinary response
PROMPT = 5.0  # seconds for a refusal that must not wait for the body, besides three times the first response's
LONGEST_STALL = 150.0  # seconds after which a stalled request should have been ended
EXPIRES_SOON = datetime.timedelta(days=14)
LARGE_HEAD = 64 * 1024  # bytes
UNKNOWN_ID = "a-" + "0" * 32
_EXPIRED, _UNKNOWN_AUTHORITY, _OTHER_HOST = 10, {2, 18, 19, 20, 21}, {62, 64}  # OpenSSL's verify results

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
_PASS_ALL = "Let the proxy pass all headers, methods and responses unchanged."


@dataclass(frozen=True, slots=True)
class EndpointResponse:
    """A response at the public address; `seconds` is the time it took."""

    status: int
    headers: email.message.Message
    content: bytes
    seconds: float

    @property
    def document(self) -> dict[str, Any]:
        try:
            found = json.loads(self.content)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def reason(self) -> str | None:
        """The reason of a refusal by the service; None if it did not refuse, or something else responded."""
        return problem_reason(self.document)

    def __str__(self) -> str:
        server = self.headers.get("Server", "")
        return f"{self.status} {http.client.responses.get(self.status, '')}" + (f" from {server}" if server else "")


class Endpoint:
    """The service at its public address. Every request is sent once and unchanged, without retries or redirects."""

    def __init__(self, url: str, ca_file: str | None = None) -> None:
        """`ca_file` has certificates of further authorities. Raise CheckFailed, or OSError for that file."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CheckFailed(f"{url!r} is not an address", "Write https://HOST[:PORT][/PATH].")
        self.url = url.rstrip("/")
        self.host, self.port = parts.hostname, parts.port
        self.secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/")
        self._context = ssl.create_default_context()
        if ca_file:
            self._context.load_verify_locations(ca_file)

    def connection(self) -> http.client.HTTPConnection:
        if self.secure:
            return http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT, context=self._context)
        return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> EndpointResponse:
        length: dict[str, str] = {}
        if body is not None or method in {"POST", "PATCH"}:
            length = {"Content-Length": str(len(body or b""))}
        return self.begin(method, path, {**(headers or {}), **length}, body or b"", TIMEOUT)

    def begin(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> EndpointResponse:
        """Send only `body` of a request that may announce more. Raise OSError if no response comes."""
        connection = self.connection()
        try:
            start = time.monotonic()
            connection.putrequest(method, self._path + path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            connection.sock.settimeout(timeout)
            response = connection.getresponse()
            return EndpointResponse(response.status, response.headers, response.read(), time.monotonic() - start)
        except http.client.HTTPException as problem:
            raise ConnectionError(f"the connection ended without a response ({type(problem).__name__})") from problem
        finally:
            connection.close()


def run(url: str, origins: Sequence[str], ca_file: str | None) -> int:
    """Print a line for each part. Return 0 if all of them are ok, 1 if not."""
    try:
        endpoint = Endpoint(url, ca_file)
    except (CheckFailed, OSError) as problem:
        step = getattr(problem, "next_step", "Name a PEM file of certificates with --ca-file.")
        print_line("address", "FAIL", str(problem), step)
        return 1
    if run_part("address", lambda: _address(endpoint)):
        return 1
    first: list[EndpointResponse] = []
    if run_part("service", lambda: _service(endpoint, first)):
        return 1
    failed = run_part("links", lambda: _links(endpoint, first[0]))
    if run_part("headers", _connected(lambda: _headers(endpoint))):
        return 1  # the remaining parts depend on the headers, and their failures would mislead
    for origin in origins:
        failed |= run_part("pages", _connected(functools.partial(_pages, endpoint, origin)))
    failed |= run_part("heads", _connected(lambda: _heads(endpoint)))
    if run_part("bodies", _connected(lambda: _bodies(endpoint, first[0]))):
        return 1  # a stalled body would not reach the service
    return failed | run_part("stalls", lambda: _stalls(endpoint))


def _connected(part: Callable[[], str]) -> Callable[[], str]:
    def checked() -> str:
        try:
            return part()
        except OSError as problem:
            raise CheckFailed(
                f"no response: {problem}", "Earlier requests succeeded: check whether network and proxy are stable."
            ) from None

    return checked


def _address(endpoint: Endpoint) -> str:
    if not endpoint.secure and not is_loopback(endpoint.host):
        raise CheckFailed(f"{endpoint.url} is not encrypted", "Use TLS: otherwise tokens can be read on the way.")
    try:
        connection = endpoint.connection()
        connection.connect()
        certificate = connection.sock.getpeercert() if isinstance(connection.sock, ssl.SSLSocket) else None
        connection.close()
    except ssl.SSLCertVerificationError as problem:
        raise _untrusted(endpoint, problem) from problem
    except ssl.SSLError as problem:
        raise CheckFailed(
            f"no TLS: {problem.reason}", "Check that the proxy speaks TLS 1.2 or newer at this port."
        ) from problem
    except socket.gaierror as problem:
        raise CheckFailed(
            f"{endpoint.host} cannot be resolved: {problem.strerror}", "Check the name, and DNS."
        ) from problem
    except OSError as problem:
        raise CheckFailed(
            f"{endpoint.url} cannot be reached: {problem}", "Check that the proxy is running, and firewalls."
        ) from problem
    return endpoint.url + (f", certificate {_expiry(certificate)}" if certificate else "")


def _untrusted(endpoint: Endpoint, problem: ssl.SSLCertVerificationError) -> CheckFailed:
    if problem.verify_code == _EXPIRED:
        return CheckFailed("the certificate has expired", "Renew it, and reload the proxy.")
    if problem.verify_code in _OTHER_HOST:
        return CheckFailed(
            f"the certificate is not for {endpoint.host}", "Get one that has this name as a subject alternative name."
        )
    if problem.verify_code in _UNKNOWN_AUTHORITY:
        return CheckFailed(
            f"the certificate authority is not trusted: {problem.verify_message}",
            "Let the proxy send the intermediate certificates; for an authority of your own use --ca-file.",
        )
    return CheckFailed(f"the certificate is not valid: {problem.verify_message}", "Get a new one.")


def _expiry(certificate: Mapping[str, Any]) -> str:
    ends = datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), datetime.UTC)
    soon = ends - datetime.datetime.now(datetime.UTC) < EXPIRES_SOON
    return f"until {ends:%Y-%m-%d}" + (", which is soon" if soon else "")


def _service(endpoint: Endpoint, first: list[EndpointResponse]) -> str:
    try:
        response = endpoint.request("GET", "/", {"Accept": "application/json"})
    except OSError as problem:
        raise CheckFailed(
            f"no response: {problem}", "Check the address of the service in the proxy's configuration."
        ) from problem
    if response.document.get("name") != "resumable-glance":
        step = "Check that the service is running, and that the proxy reaches it." if response.status >= 500 else (
            "Check that this is the address of resumable-glance, and which path the proxy passes on.")  # fmt: skip
        raise CheckFailed(f"the response is not from resumable-glance: {response}", step)
    first.append(response)
    return f"resumable-glance {response.document.get('version')}, in {response.seconds * 1000:.0f} ms"


def _links(endpoint: Endpoint, first: EndpointResponse) -> str:
    href = str(first.document["protocols"]["tus"]["href"])
    if href.startswith(f"{endpoint.url}/"):
        return f"new uploads get addresses below {endpoint.url}"
    found, expected = urlsplit(href), urlsplit(endpoint.url)
    if found.scheme != expected.scheme:
        raise CheckFailed(
            f"new uploads get {found.scheme}:// addresses",
            "Set public_endpoint; or let the proxy send X-Forwarded-Proto, and name it in trusted_proxies.",
        )
    raise CheckFailed(
        f"new uploads get addresses below {href.removesuffix('/v1/tus')}",
        "Set public_endpoint; or let the proxy pass the Host header unchanged, with its port.",
    )


def _headers(endpoint: Endpoint) -> str:
    _chunk_headers(endpoint)
    _digest_headers(endpoint)
    _response_headers(endpoint)
    _credential_headers(endpoint)
    return "methods, headers and refusals pass in every protocol"


def _chunk_headers(endpoint: Endpoint) -> None:
    for mount, headers in _CHUNK_HEADERS.items():
        response = endpoint.request("PATCH", f"{mount}/{UNKNOWN_ID}", headers, b"x")
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
        if endpoint.request("PATCH", f"{mount}/{UNKNOWN_ID}", headers, b"x").reason in _EXPECTED:
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
            raise CheckFailed(
                f"pages of {origin} may not upload",
                f"Add {origin} to [cors] allowed_origin, exactly like this; or the proxy removes CORS headers.",
            )
        if allowed != [origin]:
            raise CheckFailed(
                f"Access-Control-Allow-Origin is {' and '.join(allowed)}, not {origin}",
                "Let the proxy add no CORS headers: the service sends its own for each origin.",
            )
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
        raise CheckFailed(
            f"{name} lacks {', '.join(missing)}",
            "Let the proxy add no CORS headers; check that the service has the version of this command.",
        )


def _bodies(endpoint: Endpoint, first: EndpointResponse) -> str:
    """The service refuses the largest chunk before it reads the body; a proxy that buffers waits for the body."""
    largest = int(first.document["protocols"]["native"]["chunks"]["max_size"])
    headers = {**_CHUNK_HEADERS["/v1/uploads"], "Content-Range": f"bytes 0-{largest - 1}/{largest}",
               "Content-Length": str(largest)}  # fmt: skip
    try:
        response = endpoint.begin(
            "PATCH", f"/v1/uploads/{UNKNOWN_ID}", headers, b"", timeout=PROMPT + 3 * first.seconds
        )
    except TimeoutError:
        raise CheckFailed(
            "a proxy buffers request bodies", "nginx: proxy_request_buffering off; others: stream request bodies."
        ) from None
    if response.reason in _EXPECTED:
        return f"chunks of up to {largest} bytes are passed on as they arrive"
    if response.status == 413:
        raise CheckFailed(
            f"a proxy limits request bodies, and refuses a chunk of {largest} bytes: {response}",
            "nginx: client_max_body_size 0; or lower max_chunk_size to the limit of the proxy.",
        )
    raise CheckFailed(f"a proxy refuses a large chunk: {response}", _PASS_ALL)


def _heads(endpoint: Endpoint) -> str:
    response = endpoint.request("GET", f"/v1/uploads/{UNKNOWN_ID}", {"X-Padding": "x" * LARGE_HEAD})
    if response.reason in _EXPECTED:
        return f"request heads of {LARGE_HEAD // 1024} KiB pass, enough to join hundreds of parts (tus)"
    raise CheckFailed(
        f"a proxy refuses request heads of {LARGE_HEAD // 1024} KiB: {response}",
        "nginx: large_client_header_buffers 4 128k; HAProxy: tune.bufsize 131072.",
    )


def _stalls(endpoint: Endpoint) -> str:
    """The service has to be the one that ends a stalled request, since it alone can say which bytes it kept."""
    headers = {"Content-Type": "application/json", "Content-Length": "100"}
    start = time.monotonic()
    try:
        response = endpoint.begin("POST", "/v1/uploads", headers, b'{"size": ', LONGEST_STALL)
    except TimeoutError:
        raise CheckFailed(
            f"a stalled request was still open after {LONGEST_STALL:.0f} s",
            "Lower idle_timeout, and check that the proxy does not buffer request bodies.",
        ) from None
    except OSError as problem:
        response, ending = None, str(problem)
    else:
        ending = str(response)
    seconds = time.monotonic() - start
    if response is not None and response.reason == "stalled":
        return f"the service ends stalled requests after {seconds:.0f} s, before any proxy does"
    raise CheckFailed(
        f"a proxy ended a stalled request after {seconds:.0f} s: {ending}",
        "Set all timeouts of the proxy above idle_timeout (nginx: client_body_timeout 120s; HAProxy: timeout client "
        "120s).",
    )
