"""Connections and request heads before authentication, abused with raw sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from resumable_glance.api import cors
from tests.support.raw import Answer, Line, Request
from tests.support.service import Service, development
from tests.support.wire import Client

ORIGIN = "https://dashboard.example"
MIB = 1024 * 1024
HEAD_TIMEOUT = 1  # seconds
HEAD_SIZE = 16 * 1024
CLOSE = "Connection: close"
NOBODYS = "/v1/uploads/a-" + "0" * 32


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    groups: dict[str, dict[str, object]] = {
        "limits": {"head_size": HEAD_SIZE, "head_fields": 40},
        "cors": {"allowed_origin": ORIGIN},
    }
    options = {"head_timeout": HEAD_TIMEOUT, "idle_timeout": 2, "trusted_proxies": "127.0.0.2,127.0.0.3"}
    with development(tmp_path_factory.mktemp("service"), groups, **options) as running:
        yield running


@pytest.fixture
def line(service: Service) -> Iterator[Line]:
    made = Line(service.port)
    yield made
    made.close()


def answered(service: Service, text: bytes, method: str = "GET") -> Answer:
    line = Line(service.port)
    try:
        line.send(text)
        return line.answer(method)
    finally:
        line.close()


def get(path: str = "/", *fields: str, version: str = "1.1", host: str = "Host: test") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", *([host] if host else []), *fields, "", ""]).encode()


def statuses(line: Line) -> list[int]:
    """Of all answers, until the service ends the connection."""
    text = b""
    with contextlib.suppress(ConnectionError):
        while piece := line.socket.recv(65536):
            text += piece
    return [int(each) for each in re.findall(rb"HTTP/1\.1 ([0-9]{3})", text)]


def ended(line: Line, within: float) -> bool:
    """Whether the service ends the connection by itself, with no answer or after one."""
    line.socket.settimeout(within)
    with contextlib.suppress(ConnectionError):
        try:
            while line.socket.recv(65536):
                pass
        except TimeoutError:
            return False
    return True


# Size of a head


@pytest.mark.parametrize(
    "fields",
    [
        ["X-Long: " + "x" * 200_000],
        ["X-Long: " + "x" * 100_000 + "\r\nX-Long: " + "y" * 100_000],
        [f"X-{each}: {'x' * 1000}" for each in range(30)],
        [f"X-{each}: y" for each in range(60)],
        ["X-Same: y"] * 60,
    ],
)
def test_a_head_has_a_largest_size_and_number_of_headers(service: Service, fields: list[str]) -> None:
    for method in ("GET", "HEAD"):
        text = get("/", f"Origin: {ORIGIN}", *fields).replace(b"GET", method.encode())
        answer = answered(service, text, method)
        assert answer.status == 431
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert method == "HEAD" or answer.reason == "head-too-large"


def test_a_long_address_is_a_large_head(service: Service) -> None:
    assert answered(service, get("/" + "a" * 200_000)).reason == "head-too-large"


def test_a_head_that_never_ends_is_ended(service: Service, line: Line) -> None:
    line.send(b"GET / HTTP/1.1\r\nHost: test\r\nX-Long: ")
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 64 * MIB and (sent < 4 * MIB or not ended(line, 0.01)):
            line.send(bytes(65536).replace(b"\0", b"x"))
            sent += 65536
    assert sent < 64 * MIB
    assert service.memory() < 400 * MIB


def test_a_head_below_the_limits_is_taken(service: Service) -> None:
    assert answered(service, get("/", "X-Long: " + "x" * (HEAD_SIZE - 200), *["X: y"] * 10)).status == 200


def test_trailers_are_not_headers(service: Service, line: Line) -> None:
    client = Client(service.url)
    path = client.created(10).removeprefix(client.url)
    text = Request("PATCH", path, (("Content-Range", "bytes 0-9/10"),), b"0123456789", chunked=True).wire()
    line.send(text.removesuffix(b"\r\n") + b"Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==\r\nHost: evil\r\n\r\n")
    assert line.answer("PATCH").status == 204
    line.send(get())
    assert line.answer("GET").status == 200
    trailers = b"".join(b"X-%d: %b\r\n" % (each, b"x" * 1000) for each in range(30))
    line.send(text.removesuffix(b"\r\n") + trailers + b"\r\n")
    with contextlib.suppress(ConnectionError):  # the chunk is answered, or the trailer is: then nothing follows
        assert line.answer("PATCH").status in {204, 431}
    assert ended(line, 10)


# Time for a head


@pytest.mark.parametrize("begun", [b"GET /", b"GET / HTTP/1.1\r\nHost: test\r\nX-Slow: "])
def test_a_head_that_stalls_is_answered_408_and_closed(service: Service, line: Line, begun: bytes) -> None:
    start = time.monotonic()
    line.send(begun)
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            time.sleep(0.1)
            line.send(b"x")  # a byte now and then does not help
            if ended(line, 0.01):
                break
    assert HEAD_TIMEOUT * 0.9 <= time.monotonic() - start < HEAD_TIMEOUT + 8  # it began to count a moment before us


def test_a_late_head_is_answered_408(service: Service, line: Line) -> None:
    line.send(b"GET / HTTP/1.1\r\nOrigin: " + ORIGIN.encode() + b"\r\nX-Any: ")
    answer = line.answer("GET")
    assert (answer.status, answer.reason) == (408, "stalled")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert ended(line, 10)


@pytest.mark.parametrize("text", [b"", b"\r\n"])
def test_a_silent_connection_is_closed_without_an_answer(service: Service, line: Line, text: bytes) -> None:
    line.send(text)
    line.socket.settimeout(HEAD_TIMEOUT + 8)
    assert line.socket.recv(1) == b""


def test_a_second_head_has_its_own_timeout_after_a_pause(service: Service, line: Line) -> None:
    line.send(get())
    assert line.answer("GET").status == 200
    time.sleep(HEAD_TIMEOUT + 0.5)
    line.send(get())
    assert line.answer("GET").status == 200
    line.send(b"GET / HT")
    assert line.answer("GET").reason == "stalled"


def test_draining_an_unwanted_body_has_a_timeout(service: Service, line: Line) -> None:
    line.send(Request("PATCH", NOBODYS, (("Content-Range", "bytes 0-9/10"), ("Content-Length", "10"))).wire())
    assert line.answer("PATCH").status == 404
    assert ended(line, HEAD_TIMEOUT + 8)


def test_a_client_that_reads_no_answer_is_disconnected(service: Service) -> None:
    client = Client(service.url)
    content = bytes(32 * MIB)
    url = client.created(len(content))
    assert client.send(url, content, 0, len(content)).status_code == 204
    line = Line(service.port)
    client.wait(url, "active")
    path = url.removeprefix(client.url).replace("uploads", "tus")
    line.send(get(path, "Tus-Resumable: 1.0.0"))
    time.sleep(2 + 1.5)  # idle_timeout, and a little
    got = 0
    line.socket.settimeout(10)
    with contextlib.suppress(ConnectionError):
        while piece := line.socket.recv(MIB):
            got += len(piece)
    line.close()
    assert got < len(content)


# Heads that could be read in two ways (more of them in test_wire.py)


@pytest.mark.parametrize(
    "text",
    [
        get(host=""),
        get("/", "Host: other"),
        get("/", "Host: test"),
        get(host="Host: a b"),
        get(host="Host: a/b"),
        get(host="Host: user@a"),
        get(host="Host: "),
        get("http://other/"),
        get("http://user@test/"),
        get("*"),
        get(version="1.2"),
        get(version="2.0"),
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n",
        b"POST /v1/tus HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : test\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: test\r\n\r\n",
        b"GET / HTTP/1.1\nHost: test\n\n",
        b"GET /\0 HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: te\0st\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    ],
)
def test_an_ambiguous_head_is_refused_and_its_connection_closed(service: Service, line: Line, text: bytes) -> None:
    line.send(text)
    answer = line.answer("GET")
    if text == get("*"):
        assert answer.status == 404
        return
    assert (answer.status, answer.reason) == (400, "malformed-request")
    assert re.fullmatch(r"req-[0-9a-f-]{36}", answer.headers["x-openstack-request-id"])
    assert answer.headers["connection"] == "close"
    assert ended(line, 10)


@pytest.mark.parametrize(
    "text", [get("http://test/v1/uploads"), get(version="1.0", host=""), get(host="Host: [::1]:80")]
)
def test_unusual_but_clear_heads_are_accepted(service: Service, text: bytes) -> None:
    assert answered(service, text).status == 200


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_an_upgrade_is_ignored_and_its_body_counts(service: Service, line: Line, chunked: bool, split: bool) -> None:
    client = Client(service.url)
    url = client.created(10)
    upgrade = (("Content-Range", "bytes 0-9/10"), ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"))
    request = Request("PATCH", url.removeprefix(client.url), upgrade, b"0123456789", chunked)
    text = request.wire()
    if split:
        line.send(text[: request.head_length()])
        time.sleep(0.1)
        text = text[request.head_length() :]
    line.send(text + get() + get("/nowhere", "Connection: upgrade", "Upgrade: websocket") + get("/", CLOSE))
    assert statuses(line) == [204, 200, 404, 200]
    assert client.show(url)["received"] == 10


def test_a_body_of_an_upgrade_is_not_the_next_request(service: Service, line: Line) -> None:
    hidden = get("/v1/uploads")
    fields = (("Connection", "close, Upgrade"), ("Upgrade", "websocket"))
    line.send(Request("PATCH", NOBODYS, fields, hidden).wire() + get())
    assert line.answer("PATCH").status in {400, 404}
    assert ended(line, 10)


def test_garbage_after_a_request_keeps_its_answer(service: Service, line: Line) -> None:
    line.send(get("/v1/uploads") + b"NONSENSE\r\n\r\n")
    assert line.answer("GET").status == 200
    assert ended(line, 10)


def test_a_malformed_chunk_keeps_the_bytes_before_it(service: Service, line: Line) -> None:
    client = Client(service.url)
    url = client.created(10)
    fields = (("Content-Range", "bytes 0-9/10"), ("Origin", ORIGIN))
    text = Request("PATCH", url.removeprefix(client.url), fields, b"01234", chunked=True).wire()
    line.send(text.removesuffix(b"0\r\n\r\n"))
    time.sleep(0.2)
    line.send(b"nonsense\r\n")
    answer = line.answer("PATCH")
    assert (answer.status, answer.reason) == (400, "malformed-request")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    deadline = time.monotonic() + 10
    while client.show(url)["received"] != 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_extensions_of_a_chunk_are_not_kept_and_have_their_time(service: Service, line: Line) -> None:
    client = Client(service.url)
    path = client.created(10).removeprefix(client.url)
    text = Request("PATCH", path, (("Content-Range", "bytes 0-9/10"),), b"", chunked=True).wire()
    before = service.memory()
    line.send(text.removesuffix(b"0\r\n\r\n") + b"5;")
    with contextlib.suppress(ConnectionError):
        for _ in range(40):
            line.send(b"x" * MIB)
    assert service.memory() < before + 32 * MIB
    assert ended(line, 15)


# Number of connections and requests


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits = {"connections": 50, "connections_per_peer": 3, "requests_per_peer": 30, "requests_per_project": 100}
    options = {"trusted_proxies": "127.0.0.2", "head_timeout": 60}
    with development(tmp_path_factory.mktemp("narrow"), {"limits": limits}, **options) as running:
        yield running


def asked(held: contextlib.ExitStack, service: Service, source: str, forwarded: str = "", path: str = NOBODYS) -> int:
    """The status of an answer, and the connection is held."""
    connection = held.enter_context(socket.create_connection(("127.0.0.1", service.port), 30, (source, 0)))
    connection.sendall(get(path, f"X-Forwarded-For: {forwarded}") if forwarded else get(path))
    return int(connection.recv(65536).split()[1])


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something holds soon: the service sees a moment later that connections were closed."""
    deadline = time.monotonic() + 10
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return held


def test_one_connection_too_many_is_refused(narrow: Service) -> None:
    with contextlib.ExitStack() as held:
        assert {asked(held, narrow, "127.0.0.2", path="/") for _ in range(50)} == {200}
        late = Line(narrow.port)
        held.callback(late.close)
        answer = late.answer("GET")
        assert (answer.status, answer.reason, answer.headers["retry-after"]) == (503, "too-busy", "5")
        assert ended(late, 10)
    assert eventually(lambda: answered(narrow, get()).status == 200)


def test_connections_per_address_are_limited(narrow: Service) -> None:
    with contextlib.ExitStack() as held:
        assert [asked(held, narrow, "127.0.0.4", path="/") for _ in range(4)] == [200, 200, 200, 429]
        assert asked(held, narrow, "127.0.0.5", path="/") == 200
        assert {asked(held, narrow, "127.0.0.2", path="/") for _ in range(9)} == {200}

    def is_counted_anew() -> bool:
        with contextlib.ExitStack() as held:
            return asked(held, narrow, "127.0.0.4", path="/") == 200

    assert eventually(is_counted_anew)


def test_requests_per_address_are_limited_unforgeably(narrow: Service) -> None:
    def status(source: str, forwarded: str) -> int:
        with contextlib.ExitStack() as held:
            return asked(held, narrow, source, forwarded)

    assert [status("127.0.0.2", "192.0.2.1") for _ in range(31)] == [404] * 30 + [429]
    assert status("127.0.0.2", "192.0.2.2") == 404
    assert status("127.0.0.2", "192.0.2.77, 192.0.2.1") == 429
    assert status("127.0.0.2", "192.0.2.77, 192.0.2.1, 127.0.0.2") == 429
    assert status("127.0.0.6", "192.0.2.1") == 404, "who is not trusted has its own address"


def test_requests_of_a_project_are_limited_from_all_addresses(narrow: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", narrow.port, 30, ("127.0.0.2", 0))
    for each in range(200):
        connection.request("GET", NOBODYS, headers={"X-Forwarded-For": f"198.51.100.{each}"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status == 429:
            break
    connection.close()
    assert json.loads(content)["detail"].startswith("More than 100 ")
    assert answer.headers["Retry-After"] == "1"
    assert answered(narrow, get("/healthcheck")).status == 200


# Proxies


@pytest.mark.parametrize(
    ("source", "forwarded", "scheme"),
    [
        ("127.0.0.2", "X-Forwarded-Proto: https", "https"),
        ("127.0.0.3", "X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.2", "https"),
        ("127.0.0.2", "X-Forwarded-Proto: gopher", "http"),
        ("127.0.0.2", "Forwarded: proto=https;host=evil", "http"),
        ("127.0.0.2", "X-Forwarded-Host: evil\r\nX-Forwarded-Port: 99\r\nX-Forwarded-Prefix: /evil", "http"),
        ("127.0.0.1", "X-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.2", "http"),
        ("127.0.0.4", "X-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.2", "http"),
    ],
)
def test_only_a_trusted_proxy_is_believed_and_only_the_scheme(
    service: Service, source: str, forwarded: str, scheme: str
) -> None:
    with socket.create_connection(("127.0.0.1", service.port), 30, (source, 0)) as connection:
        connection.sendall(get("/", forwarded, host="Host: uploads.example"))
        text = b""
        while piece := connection.recv(65536):
            text += piece
            if b"rufh" in text:
                break
    assert f'"href":"{scheme}://uploads.example/v1/tus"'.encode() in text


# Browsers


def test_every_early_answer_is_readable_by_the_page(service: Service) -> None:
    client = Client(service.url, {"Origin": ORIGIN})
    asked = [("GET", "/nowhere"), ("PUT", "/"), ("GET", "/healthcheck"), ("DELETE", "/healthcheck"), ("OPTIONS", "/"),
             ("PATCH", NOBODYS), ("PURGE", NOBODYS)]  # fmt: skip
    for method, path in asked:
        answer = client.request(method, service.url + path)
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Expose-Headers"] == ", ".join(cors.RESPONSE_HEADERS)
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Origin" in answer.headers["Vary"].split(", ")


def test_a_preflight_lists_what_is_allowed(service: Service) -> None:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "x-auth-token,x-unknown"}
    for path in (NOBODYS, "/v1/tus", "/nowhere", "/healthcheck"):
        answer = Client(service.url, {"Origin": ORIGIN, **asked}).request("OPTIONS", service.url + path)
        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "PATCH" in answer.headers["Access-Control-Allow-Methods"].split(", ")
        allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert "x-auth-token" in allowed
        assert "x-unknown" not in allowed
    for origin in ("null", "https://evil.example", f"{ORIGIN}.evil.example", f"{ORIGIN}, {ORIGIN}"):
        answer = Client(service.url, {"Origin": origin, **asked}).request("OPTIONS", f"{service.url}/v1/tus")
        assert not [each for each in answer.headers if each.lower().startswith("access-control")]


def test_two_origins_are_none(service: Service) -> None:
    answer = answered(service, get("/", f"Origin: {ORIGIN}", f"Origin: {ORIGIN}"))
    assert "access-control-allow-origin" not in answer.headers


def test_without_named_origins_no_page_may_read_anything(narrow: Service) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH"}
    for method in ("GET", "OPTIONS"):
        answer = Client(narrow.url, asked).request(method, narrow.url)
        assert not [each for each in answer.headers if each.lower().startswith("access-control")]


def test_a_refusal_of_a_long_head_names_the_limit(service: Service) -> None:
    answer = answered(service, get("/", "X-Long: " + "x" * HEAD_SIZE))
    assert json.loads(answer.content)["limit"] == HEAD_SIZE
