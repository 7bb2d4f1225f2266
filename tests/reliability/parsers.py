"""The parsers to fuzz: what must hold for any input, and the seeds.

An input is readable bytes. A parser refuses it, or its result keeps within limits and can be rendered in every
protocol. Every other exception is a find.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import struct
import types
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import http_sf
import requests

from resumable_glance.api.protocols import image_metadata, native, parsing, rufh, tus
from resumable_glance.api.protocols.base import Reply, RequestContext, RequestHead, WireProtocol
from resumable_glance.client import ApiClient, ClientError, Cloud, UploadView
from resumable_glance.client.plan import decide, delay
from resumable_glance.errors import Refused
from resumable_glance.images.inspection import FormatRules, ImageRejected, inspect_head
from resumable_glance.model.commands import (
    Append,
    Appended,
    Chunk,
    Command,
    Content,
    Create,
    Created,
    Join,
    List,
    ListStores,
    Ticket,
    UploadFound,
)
from resumable_glance.model.digests import LENGTHS, Digest
from resumable_glance.model.states import State
from resumable_glance.model.upload import Format, Image, ImageRequest, Owner, Upload
from tests.support.vectors import Vector, Vectors, nothing, written

PLACE = RequestContext("https://glance.example", "req-1", 2**40, 2**30, 2592000, 604800)
PROTOCOLS: tuple[WireProtocol, ...] = (native, tus, rufh)
VECTORS: Mapping[str, WireProtocol] = {"native": native, "tus": tus, "rufh": rufh}
LARGEST = parsing.SAFE_INTEGER
UPLOAD = Upload(
    id="a-0123456789abcdef0123456789abcdef", owner=Owner("project", "user"), size=None, state=State.RECEIVING,
    image=None, created_at=0.0, updated_at=0.0, expires_at=1000.0,
)  # fmt: skip
PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]*")
CARRIED = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")  # in a header field; httptools refuses all others


@dataclass(frozen=True, slots=True)
class Parser:
    """A parser: `feed` gives it one input, and raises if something is wrong; `seeds` are the first inputs."""

    feed: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


# Requests


def request(protocol: WireProtocol, data: bytes) -> None:
    """Parse a request: `METHOD id?query`, a line for each header, an empty line and the body."""
    first, _, rest = data.decode("latin-1").partition("\n")
    lines, _, body = rest.partition("\n\n")
    method, _, target = first.partition(" ")
    path, _, query = target.partition("?")
    headers: dict[str, tuple[str, ...]] = {}
    for line in lines.split("\n") if lines else ():
        name, _, value = line.partition(": ")
        if not CARRIED.fullmatch(value):
            return
        headers[name.lower()] = (*headers.get(name.lower(), ()), value)
    said = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    try:
        command = protocol.parse(RequestHead(method, path or None, headers, said), body.encode("latin-1"), PLACE)
    except Refused as refusal:
        check_refusal(refusal)
    else:
        check_command(command, path)


def check_refusal(refusal: Refused) -> None:
    for protocol in PROTOCOLS:
        for method in ("HEAD", "POST", "PATCH"):
            reply = protocol.refuse(refusal, method, PLACE)
            assert 400 <= reply.status < 500, reply
            check_reply(reply)


def check_command(command: Command, asked: str) -> None:
    json.dumps(written(command), ensure_ascii=False).encode()
    match command:
        case Create(size, image, declared, metadata, first):
            check_numbers(size)
            check_digests(declared)
            if first is not None:
                check_chunk(first)
            check_upload(replace(UPLOAD, size=size, declared=declared, metadata=metadata), image)
        case Join(parts, image, metadata):
            assert 0 < len(parts) <= tus.MAX_PARTS
            assert all(re.fullmatch(r"[^/?# ]+", each) for each in parts), parts
            check_upload(replace(UPLOAD, size=0, parts=parts, metadata=metadata), image)
        case Append(upload_id, chunk, total, declared):
            assert upload_id == asked
            check_numbers(total)
            check_digests(declared)
            check_chunk(chunk)
        case List(limit):
            assert 0 <= limit <= native.MAX_LISTED
        case ListStores():
            pass
        case _:
            assert command.upload_id == asked


def check_chunk(chunk: Chunk) -> None:
    check_numbers(chunk.start, chunk.length)
    check_digests(chunk.declared)


def check_numbers(*numbers: int | None) -> None:
    for each in numbers:
        assert each is None or (type(each) is int and 0 <= each <= LARGEST), each


def check_digests(digests: tuple[Digest, ...]) -> None:
    assert all(len(each.value) == LENGTHS[each.algorithm] for each in digests), digests


def check_upload(upload: Upload, image: ImageRequest | None) -> None:
    """Assert that an upload that was asked for can be rendered in every protocol."""
    if image is not None:
        check_image(image)
        name = image.properties.get("name")
        upload = replace(upload, image=Image("image", None if name is None else str(name), image.store))
    for outcome in (
        Created(upload, Ticket("", 0)),
        Appended(upload),
        UploadFound(upload, (), 0),
        Content(upload, nothing()),
    ):
        for protocol in PROTOCOLS:
            check_reply(protocol.render(outcome, PLACE))


def check_image(image: ImageRequest) -> None:
    for key, value in image.properties.items():
        assert key, image
        if not isinstance(value, (str, bool, list)):
            check_numbers(cast(int, value))
    known = [image.store, *(image.properties.get(each) for each in ("name", *image_metadata.TEXTS))]
    for text in known:
        assert text is None or (isinstance(text, str) and len(text) <= 255 and PRINTABLE.fullmatch(text)), image


def check_reply(reply: Reply) -> None:
    """Assert that HTTP can carry a reply: no line break in a header, JSON in UTF-8."""
    for name, value in reply.headers.items():
        assert CARRIED.fullmatch(value), (name, value)
        value.encode("latin-1")
    json.dumps(reply.document, ensure_ascii=False, allow_nan=False).encode()


def requests_of(name: str) -> tuple[bytes, ...]:
    """Return the test vectors of a protocol as inputs."""

    def text(asked: Vector) -> str:
        query = f"?{urllib.parse.urlencode(asked['query'])}" if asked["query"] else ""
        lines = [
            f"{asked['method']} {asked['upload_id'] or ''}{query}",
            *(": ".join(each) for each in asked["headers"]),
        ]
        return "\n".join(lines) + f"\n\n{asked['body'].encode().decode('latin-1')}"

    vectors = Vectors(f"{name}.json", VECTORS[name]).all["requests"]
    return tuple(text(each["request"]).encode("latin-1", "replace") for each in vectors)


# Fields


def field(data: bytes) -> None:
    """Parse a field: its kind, a space, and its value."""
    kind, _, text = data.decode("latin-1").partition(" ")
    try:
        _check_field(kind, text)
    except Refused as refusal:
        check_refusal(refusal)


def _check_field(kind: str, text: str) -> None:
    head = RequestHead("POST", None, {"field": (text,), "content-disposition": (text,), "content-type": (text,)})
    match kind:
        case "integer":
            value = parsing.integer(text, "It")
            check_numbers(value)
            assert str(value) == text
        case "content-range":
            range_, total = parsing.content_range(text)
            check_numbers(range_.start, range_.stop, total)
            assert f"bytes {range_.start}-{range_.stop - 1}/{total}" == text
        case "digests":
            found = parsing.structured_digests(text, "It")
            check_digests(tuple(found))
            names = {ours: theirs for theirs, ours in parsing.RFC9530.items()}
            again = http_sf.ser({names[each.algorithm]: each.value for each in found})
            assert parsing.structured_digests(again, "It") == found
        case "item":
            for one in (int, bool, str, bytes):
                assert type(parsing.item(head, "field", one)) in {one, type(None)}
        case "base64":
            assert base64.b64encode(parsing.strict_base64(text, "It")).decode() == text
        case "disposition":
            parsing.filename(head)
        case "media-type":
            found_type = parsing.media_type(head)
            assert found_type is not None
            assert found_type == found_type.strip().lower()


FIELDS = (
    b"integer 9007199254740991", b"integer 9007199254740992", b"integer \xb2", b"integer 0",
    b"content-range bytes 0-1048575/4194304", b"content-range bytes 0-9999999999999998/9999999999999999",
    b"digests md5=:XUFAKrxLKna5cZ2REBfFkg==:, sha-256=:ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=:;a",
    b"digests a=(1 2)",
    b"item 10;q=?1", b'item "text"', b"item @1659578233", b"item ?1", b'item %"f%c3%bc"', b"item 1.5", b"item :YQ==:",
    b"base64 YQ==", b"base64 \xff", b"base64 YR==",
    b'disposition inline; filename="a\\"b"; filename*=UTF-8\'\'%c3%bc', b"disposition attachment;filename=a",
    b"media-type Application/JSON; charset=utf-8",
)  # fmt: skip


# Images


def image(data: bytes) -> None:
    """Parse the request of an image: a JSON object, or a query such as `name=disk.raw&min_disk=1`."""
    try:
        if data.startswith(b"{"):
            head = RequestHead("POST", None, {"content-type": ("application/json",)})
            check_command(native.parse(head, data, PLACE), "")
        elif len(data) <= parsing.MAX_QUERY_LENGTH:
            said = urllib.parse.parse_qsl(data.decode("latin-1"), keep_blank_values=True)
            check_upload(
                UPLOAD, image_metadata.requested({key: value for key, value in said if image_metadata.is_key(key)})
            )
    except Refused as refusal:
        check_refusal(refusal)


def bodies() -> tuple[bytes, ...]:
    return tuple(each.partition(b"\n\n")[2] for each in requests_of("native") if each.endswith(b"}"))


IMAGES = (
    b"name=disk.qcow2&store=fast&visibility=private", b"filename=a.img&min_disk=1&min_ram=9007199254740992",
    b"property.os=linux&property.owner=me&disk_format=iso&container_format=", b"name=%ff%00", b"name=\xff&property.=",
    b'{"a": "\\ud800"}', b'{"a": 1e5}', b'{"a": NaN}', b'{"a": 1, "a": 2}', 
    b'{"a":' + b"[" * 3000,
)  # fmt: skip


# Answers, as our client reads them


def answer(data: bytes) -> None:
    """Parse an answer as our client does: a status, a line for each header, an empty line and the body."""
    first, _, rest = data.partition(b"\n")
    lines, _, body = rest.partition(b"\n\n")
    response = requests.Response()
    response.status_code = int.from_bytes(first[-2:], "big") % 600
    response.raw = io.BytesIO(body)
    for line in lines.decode("latin-1").split("\n"):
        name, _, value = line.partition(": ")
        response.headers[name] = value
    session = types.SimpleNamespace(request=lambda *_, **__: response)
    cloud = cast(Cloud, types.SimpleNamespace(session=session, authenticated=True))
    parsed = ApiClient(cloud, "http://glance.example").get(UPLOAD.id)
    assert parsed.retry_after is None or parsed.retry_after >= 0
    decide(parsed)
    assert delay(1, 0.5, parsed.retry_after) >= 0
    with contextlib.suppress(ClientError):
        UploadView.parse(parsed)


def answers() -> tuple[bytes, ...]:
    described: Any = [each["reply"] for each in Vectors("native.json", native).all["outcomes"]]
    statuses = [int(each["status"]).to_bytes(2, "big") for each in described]
    shown = [json.dumps(each["document"]).encode() for each in described]
    headers = b"Content-Type: application/json\nRetry-After: 3\nX-Openstack-Request-Id: req-1\n\n"
    dated = b"\x01\xf7\nRetry-After: Mon, 23 Nov 2026 21:00:00 GMT\n\n"
    far = b"\x01\xf7\nRetry-After: Mon, 01 Jan 99999999999999999999 00:00:00 GMT\n\n"
    deep = b"\x00\xc8\nContent-Type: application/json\n\n" + b"[" * 3000
    return dated, far, deep, *(status + b"\n" + headers + body for status, body in zip(statuses, shown, strict=True))


# The bytes of images


def format_of(data: bytes) -> None:
    """Inspect an image: the declared format, a line feed, and all its bytes or its head."""
    declared, _, content = data.partition(b"\n")
    for size in (len(content), len(content) + 1, None):
        with contextlib.suppress(ImageRejected):
            found = inspect_head(content, Format(declared.decode("latin-1") or None), size, FormatRules(largest=2**60))
            assert found.virtual_size is None or 0 <= found.virtual_size <= 2**60
            assert native.render(UploadFound(replace(UPLOAD, format=found), (), 0), PLACE).document is not None


def formats() -> tuple[bytes, ...]:
    vmdk = b'# Disk DescriptorFile\nversion=1\ncreateType="monolithicSparse"\nRW 16384 SPARSE "disk.vmdk"\n'
    sparse = struct.pack("<4sIIQQQQIQQ", b"KDMV", 1, 3, 16384, 128, 1, 20, 512, 21, 26).ljust(512, b"\0")
    qcow2 = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, 2**33).ljust(512, b"\0")
    disk = (
        bytes(446) + struct.pack("<B3sB3sII", 0x80, b"\xff" * 3, 0x83, b"\xff" * 3, 2048, 9) + bytes(48) + b"\x55\xaa"
    )
    iso = bytes(32769) + b"CD001" + bytes(2042)
    starts = (qcow2, sparse + vmdk.ljust(10240, b"\0"), vmdk, disk, iso, b"vhdxfile", b"LUKS\xba\xbe\0\1", b"conectix")
    names = (b"qcow2", b"vmdk", b"vmdk", b"raw", b"iso", b"vhdx", b"raw", b"vhd")
    return (b"\n", *(name + b"\n" + start for name, start in zip(names, starts, strict=True)), b"\n" + disk)


PARSERS: Mapping[str, Parser] = {
    "native": Parser(lambda data: request(native, data), requests_of("native")),
    "tus": Parser(lambda data: request(tus, data), requests_of("tus")),
    "rufh": Parser(lambda data: request(rufh, data), requests_of("rufh")),
    "fields": Parser(field, FIELDS),
    "images": Parser(image, (*IMAGES, *bodies())),
    "answers": Parser(answer, answers()),
    "formats": Parser(format_of, formats()),
}
