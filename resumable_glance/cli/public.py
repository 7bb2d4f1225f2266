"""What a client meets at the public address: TLS, proxies, the service. Says which part spoils uploads, and what to do.

Nothing is created and no token is needed: requests for an upload that is not there are refused by the service before
their body comes, and in its own words. Whatever else comes back, or does not, was somebody in between.
"""

from __future__ import annotations

import datetime
import functools
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from resumable_glance.api.cors import EXPOSED, METHODS, SENT
from resumable_glance.cli.address import Answer, Public
from resumable_glance.cli.verdicts import Failed, say, tried
from resumable_glance.runtime.config import is_loopback

AT_ONCE = 5.0  # seconds, besides three times what the first answer took
LONGEST_STALL = 150.0  # seconds after which nobody is expected to end a request that stalls
SOON = datetime.timedelta(days=14)
LARGE_HEAD = 64 * 1024  # bytes
NOBODYS = "a-" + "0" * 32
_EXPIRED, _UNKNOWN, _OTHER_HOST = 10, {2, 18, 19, 20, 21}, {62, 64}  # OpenSSL's verify results


def run(url: str, origins: Sequence[str], authorities: str | None) -> int:
    """Print how each part is; 0 if all of them are well."""
    try:
        public = Public(url, authorities)
    except (Failed, OSError) as problem:
        say("address", "FAIL", str(problem), getattr(problem, "next_step", "Name a file with certificates in PEM."))
        return 1
    if tried("address", lambda: _address(public)):
        return 1
    first: list[Answer] = []
    if tried("service", lambda: _service(public, first)):
        return 1
    wrong = tried("links", lambda: _links(public, first[0]))
    if tried("headers", _in_touch(lambda: _headers(public))):
        return 1  # what comes now depends on them, and would only puzzle
    for origin in origins:
        wrong |= tried("pages", _in_touch(functools.partial(_pages, public, origin)))
    wrong |= tried("heads", _in_touch(lambda: _heads(public)))
    if tried("bodies", _in_touch(lambda: _bodies(public, first[0]))):
        return 1  # whatever becomes of stalled bodies, the service hears nothing of them
    return wrong | tried("stalls", lambda: _stalls(public))


def _in_touch(part: Callable[[], str]) -> Callable[[], str]:
    def asked() -> str:
        try:
            return part()
        except OSError as problem:
            raise Failed(
                f"no answer: {problem}", "It answered a moment ago. Is the network or the proxy flaky?"
            ) from None

    return asked


def _address(public: Public) -> str:
    if not public.secure and not is_loopback(public.host):
        raise Failed(f"{public.url} is not encrypted", "Tokens can be read on the way: serve it with TLS.")
    try:
        connection = public.connection()
        connection.connect()
        certificate = connection.sock.getpeercert() if isinstance(connection.sock, ssl.SSLSocket) else None
        connection.close()
    except ssl.SSLCertVerificationError as problem:
        raise _distrusted(public, problem) from problem
    except ssl.SSLError as problem:
        raise Failed(f"no TLS: {problem.reason}", "Does the proxy speak TLS 1.2 or newer at this port?") from problem
    except socket.gaierror as problem:
        raise Failed(f"{public.host} has no address: {problem.strerror}", "Look at the name, and at DNS.") from problem
    except OSError as problem:
        raise Failed(
            f"{public.url} can't be reached: {problem}", "Does the proxy run, does a firewall hold?"
        ) from problem
    return public.url + (f", certificate {_life(certificate)}" if certificate else "")


def _distrusted(public: Public, problem: ssl.SSLCertVerificationError) -> Failed:
    if problem.verify_code == _EXPIRED:
        return Failed("the certificate has expired", "Renew it, and reload the proxy.")
    if problem.verify_code in _OTHER_HOST:
        return Failed(f"the certificate is not for {public.host}", "Get one whose names (SAN) have it.")
    if problem.verify_code in _UNKNOWN:
        step = "Serve the chain with its intermediate certificates; for an authority of your own, --ca-file names it."
        return Failed(f"the certificate's authority is not known here: {problem.verify_message}", step)
    return Failed(f"the certificate is not valid: {problem.verify_message}", "Get a new one.")


def _life(certificate: Mapping[str, Any]) -> str:
    ends = datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), datetime.UTC)
    soon = ends - datetime.datetime.now(datetime.UTC) < SOON
    return f"until {ends:%Y-%m-%d}" + (": soon" if soon else "")


def _service(public: Public, first: list[Answer]) -> str:
    try:
        answer = public.ask("GET", "/", {"Accept": "application/json"})
    except OSError as problem:
        raise Failed(f"no answer: {problem}", "Does the proxy know where the service is?") from problem
    if answer.document.get("name") != "resumable-glance":
        step = "Does the proxy reach the service, and does the service run?" if answer.status >= 500 else (
            "Is this the address of resumable-glance? Which path does the proxy pass on?")  # fmt: skip
        raise Failed(f"what answers is not resumable-glance: {answer}", step)
    first.append(answer)
    return f"resumable-glance {answer.document.get('version')}, in {answer.seconds * 1000:.0f} ms"


def _links(public: Public, first: Answer) -> str:
    href = str(first.document["protocols"]["tus"]["href"])
    if href.startswith(f"{public.url}/"):
        return f"new uploads get addresses below {public.url}"
    found, wanted = urlsplit(href), urlsplit(public.url)
    if found.scheme != wanted.scheme:
        what = f"new uploads get {found.scheme}:// addresses"
        step = "Set public_endpoint; or let the proxy send X-Forwarded-Proto, and name it in trusted_proxies."
    else:
        what = f"new uploads get addresses below {href.removesuffix('/v1/tus')}"
        step = "Set public_endpoint; or let the proxy pass on Host as it came, with its port."
    raise Failed(what, step)


# What a chunk in each dialect must bring along, to an upload that is not there.
_CHUNKS: Mapping[str, Mapping[str, str]] = {
    "/v1/uploads": {"Content-Range": "bytes 0-0/1", "Content-Type": "application/octet-stream"},
    "/v1/tus": {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"},
    "/v1/rufh": {"Upload-Draft-Interop-Version": "8", "Upload-Offset": "0", "Upload-Complete": "?1",
                 "Content-Type": "application/partial-upload"},
}  # fmt: skip
# What is refused as malformed if it arrives.
_NONSENSE = [("/v1/uploads", "Content-MD5"), ("/v1/uploads", "Content-Digest"), ("/v1/uploads", "Repr-Digest"),
             ("/v1/tus", "Upload-Checksum")]  # fmt: skip
_TOLD = {"/v1/uploads": ("Allow", "Accept-Patch"), "/v1/tus": ("Tus-Version", "Tus-Extension", "Tus-Max-Size"),
         "/v1/rufh": ("Accept-Patch", "Upload-Limit")}  # fmt: skip
_GOOD = {"unknown-upload", "unauthenticated"}
_LET_PASS = "Let the proxy pass on all headers, methods and answers as they come."


def _headers(public: Public) -> str:
    _of_chunks(public)
    _of_proofs(public)
    _of_answers(public)
    _of_people(public)
    return "methods, headers and refusals pass in every dialect"


def _of_chunks(public: Public) -> None:
    for mount, headers in _CHUNKS.items():
        answer = public.ask("PATCH", f"{mount}/{NOBODYS}", headers, b"x")
        if not answer.reason:
            raise Failed(f"PATCH does not reach the service, or its answer does not come back: {answer}", _LET_PASS)
        if answer.reason not in _GOOD:
            detail = answer.document.get("detail")
            raise Failed(f"{mount}: a header of the chunk is lost on the way ({detail})", _LET_PASS)
        if "X-Openstack-Request-Id" not in answer.headers:
            raise Failed("X-Openstack-Request-Id is removed from answers", _LET_PASS)


def _of_proofs(public: Public) -> None:
    for mount, name in _NONSENSE:
        answer = public.ask("PATCH", f"{mount}/{NOBODYS}", {**_CHUNKS[mount], name: "nonsense"}, b"x")
        if answer.reason in _GOOD:
            raise Failed(f"{name} is removed from requests", _LET_PASS)


def _of_answers(public: Public) -> None:
    for mount, names in _TOLD.items():
        answer = public.ask("OPTIONS", mount)
        for name in names:
            if name not in answer.headers:
                raise Failed(f"{name} is removed from answers, or OPTIONS is answered by somebody else", _LET_PASS)


def _of_people(public: Public) -> None:
    """What is said about a token that is none differs from what is said about no token."""
    bare = public.ask("GET", f"/v1/uploads/{NOBODYS}")
    for name, value in (("X-Auth-Token", "nonsense"), ("Authorization", "Bearer nonsense")):
        answer = public.ask("GET", f"/v1/uploads/{NOBODYS}", {name: value})
        if bare.reason == "unauthenticated" and answer.document.get("detail") == bare.document.get("detail"):
            raise Failed(f"{name} is removed from requests", _LET_PASS)


def _pages(public: Public, origin: str) -> str:
    asked = {"Origin": origin, "Access-Control-Request-Method": "PATCH",
             "Access-Control-Request-Headers": "x-auth-token,upload-offset"}  # fmt: skip
    preflight = public.ask("OPTIONS", "/v1/tus", asked)
    refused = public.ask("GET", f"/v1/uploads/{NOBODYS}", {"Origin": origin})
    for answer in (preflight, refused):
        allowed = answer.headers.get_all("Access-Control-Allow-Origin") or []
        if not allowed:
            step = f"Add {origin} to [cors] allowed_origin, exactly so; or does the proxy remove headers from answers?"
            raise Failed(f"pages of {origin} may not upload", step)
        if allowed != [origin]:
            step = "Let the proxy add no Access-Control headers: the service has its own, for each origin."
            raise Failed(f"Access-Control-Allow-Origin is {' and '.join(allowed)}, not {origin}", step)
    if preflight.status != 204:
        raise Failed(f"the preflight is answered by somebody else: {preflight}", "Let the proxy pass on OPTIONS.")
    for name, wanted, answer in (("Methods", METHODS, preflight), ("Headers", SENT, preflight)):
        _compare(f"Access-Control-Allow-{name}", wanted, answer)
    _compare("Access-Control-Expose-Headers", EXPOSED, refused)
    return f"pages of {origin} may upload, and read all answers"


def _compare(name: str, wanted: Sequence[str], answer: Answer) -> None:
    found = {each.strip().lower() for each in answer.headers.get(name, "").split(",")}
    missing = [each for each in wanted if each.lower() not in found]
    if missing:
        step = "Let the proxy add no Access-Control headers of its own; is this the same version of the service?"
        raise Failed(f"{name} lacks {', '.join(missing)}", step)


def _bodies(public: Public, first: Answer) -> str:
    """A chunk as large as they may be is refused at once, before any of it is sent; unless somebody wants it first."""
    largest = int(first.document["protocols"]["native"]["chunks"]["max_size"])
    headers = {**_CHUNKS["/v1/uploads"], "Content-Range": f"bytes 0-{largest - 1}/{largest}"}
    patience = AT_ONCE + 3 * first.seconds
    try:
        answer = public.begin(
            "PATCH", f"/v1/uploads/{NOBODYS}", {**headers, "Content-Length": str(largest)}, b"", patience
        )
    except TimeoutError:
        what = "somebody on the way collects bodies before passing them on"
        raise Failed(what, "nginx: proxy_request_buffering off; others: stream request bodies.") from None
    if answer.reason in _GOOD:
        return f"chunks of up to {largest} bytes are passed on while they come"
    if answer.status == 413:
        what = f"somebody on the way limits bodies, and refuses a chunk of {largest} bytes: {answer}"
        raise Failed(what, "nginx: client_max_body_size 0; or lower max_chunk_size to what it takes.")
    raise Failed(f"a large chunk is refused on the way: {answer}", _LET_PASS)


def _heads(public: Public) -> str:
    answer = public.ask("GET", f"/v1/uploads/{NOBODYS}", {"X-Padding": "x" * LARGE_HEAD})
    if answer.reason in _GOOD:
        return f"heads of {LARGE_HEAD // 1024} KiB pass, enough to join hundreds of parts (tus)"
    what = f"heads of {LARGE_HEAD // 1024} KiB are refused on the way: {answer}"
    raise Failed(what, "nginx: large_client_header_buffers 4 128k; HAProxy: tune.bufsize 131072.")


def _stalls(public: Public) -> str:
    """A description that stalls is ended by the service, in its own words: it is the one who knows what was kept."""
    headers = {"Content-Type": "application/json", "Content-Length": "100"}
    start = time.monotonic()
    try:
        answer = public.begin("POST", "/v1/uploads", headers, b'{"size": ', LONGEST_STALL)
    except TimeoutError:
        step = "Lower idle_timeout, and see that the proxy does not collect bodies."
        raise Failed(f"nobody ended a request that stalled for {LONGEST_STALL:.0f} s", step) from None
    except OSError as problem:
        answer, said = None, str(problem)
    else:
        said = str(answer)
    seconds = time.monotonic() - start
    if answer is not None and answer.reason == "stalled":
        return f"the service ends requests that stall, after {seconds:.0f} s, before anybody else does"
    step = (
        "Let all time-outs of the proxy be longer than idle_timeout (nginx: client_body_timeout 120s; "
        "HAProxy: timeout client 120s)."
    )
    raise Failed(f"somebody on the way ended a request that stalled, after {seconds:.0f} s: {said}", step)
