"""Vectors of protocols (tests/vectors, for other clients too): how they are read, and how commands are written in them.

A vector's `request` becomes its `command` or is `refused` with a reason; an `outcome` or a `refusal` becomes a `reply`.
Command and outcome are written as the dataclasses are, with `kind` for the class: a range as [start, stop] (half-open,
unlike on the wire), a digest as `algorithm:hexadecimal`, a chunk's `zeros` only where it is true, a `key` only where
there is one, an image's `stores` and `all_stores` only where it is imported. A refusal that names no `method` is that
of a PATCH.
"""

import dataclasses
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resumable_glance.api.protocols.base import Reply, RequestContext, RequestHead, WireProtocol
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import (
    Append,
    Appended,
    Cancelled,
    Chunk,
    Command,
    Content,
    Create,
    Created,
    Join,
    Listed,
    Outcome,
    ReceiptSigned,
    Ticket,
    TicketIssued,
    TicketsRevoked,
    UploadFound,
)
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import (
    Delivery,
    FailureReason,
    Format,
    Image,
    ImageRequest,
    InspectionState,
    LastError,
    Owner,
    Proof,
    Upload,
)
from tests import ROOT

Vector = dict[str, Any]
KINDS = ("requests", "outcomes", "refusals")
TICKET = {"value": "signed", "expires_at": 1_700_000_000}  # of outcomes that name no other


class Vectors:
    """All vectors of one protocol, and the place where it is spoken in them."""

    def __init__(self, name: str, protocol: WireProtocol) -> None:
        self.all: Vector = json.loads((ROOT / "tests" / "vectors" / name).read_text(encoding="utf-8"))
        self.place = RequestContext(**self.all["place"])
        self._protocol = protocol

    def each_of(self, kind: str) -> pytest.MarkDecorator:
        return pytest.mark.parametrize("vector", [pytest.param(each, id=each["name"]) for each in self.all[kind]])

    def names(self) -> list[str]:
        return [each["name"] for kind in KINDS for each in self.all[kind]]

    def check_request(self, vector: Vector) -> None:
        request = vector["request"]
        asked = head(request["method"], request["upload_id"], *request["headers"], query=request["query"])
        asked = dataclasses.replace(asked, aspect=request.get("aspect"))
        body = request["body"].encode()
        if "refused" in vector:
            with pytest.raises(Refused) as refused:
                self._protocol.parse(asked, body, self.place)
            assert refused.value.reason.value == vector["refused"]
        else:
            assert written(self._protocol.parse(asked, body, self.place)) == vector["command"]

    def check_outcome(self, vector: Vector) -> None:
        assert shown(self._protocol.render(outcome(vector["outcome"]), self.place)) == vector["reply"]

    def check_refusal(self, vector: Vector) -> None:
        refusal = vector["refusal"]
        refused = Refused(Reason(refusal["reason"]), refusal["detail"], **refusal["facts"])
        method = refusal.get("method", "PATCH")
        assert shown(self._protocol.refuse(refused, method, self.place)) == vector["reply"]


def head(method: str, upload_id: str | None, *headers: list[str], query: dict[str, str] | None = None) -> RequestHead:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in headers:
        found[name.lower()] = (*found.get(name.lower(), ()), value)
    return RequestHead(method, upload_id, found, query or {})


def written(command: Command) -> Vector:
    """A command as vectors write it."""
    match command:
        case Create(size, image, declared, metadata, first, key):
            return ({} if key is None else {"key": key}) | {
                "kind": "create",
                "size": size,
                "image": _image(image),
                "declared": [str(each) for each in declared],
                "metadata": metadata,
                "first": None if first is None else _chunk(first),
            }
        case Join(parts, image, metadata):
            return {"kind": "join", "parts": list(parts), "image": _image(image), "metadata": metadata}
        case Append(upload_id, chunk, total, declared):
            said = {"total": total, "declared": [str(each) for each in declared]}
            return {"kind": "append", "upload_id": upload_id, "chunk": _chunk(chunk), **said}
        case _:
            return {"kind": _snake(type(command).__name__), **dataclasses.asdict(command)}


def _image(image: ImageRequest | None) -> Vector | None:
    if image is None:
        return None
    described = {**dataclasses.asdict(image), "properties": dict(image.properties)}
    way = {"stores": described.pop("stores"), "all_stores": described.pop("all_stores")}
    return described | (way if image.imports else {})


def _chunk(chunk: Chunk) -> Vector:
    described = {**dataclasses.asdict(chunk), "declared": [str(each) for each in chunk.declared]}
    return described if described.pop("zeros") is False else described | {"zeros": True}


def _format(described: Vector | None) -> Format | None:
    return None if described is None else Format(**described | {"inspection": InspectionState(described["inspection"])})


def upload(described: Vector) -> Upload:
    return Upload(
        **{name: value for name, value in described.items() if name not in _DELIVERY}
        | {
            "owner": Owner("project", "user"),
            "state": State(described["state"]),
            "image": Image(**described["image"]) if described["image"] else None,
            "parts": tuple(described.get("parts", ())),
            "declared": tuple(Digest.parse(each) for each in described["declared"]),
            "format": _format(described.get("format")),
            "delivery": _delivery(described),
        }
    )


_DELIVERY = {"proof", "last_error", "attempts", "next_attempt_at"}


def _delivery(described: Vector) -> Delivery:
    proof, error = described["proof"], described["last_error"]
    return Delivery(
        attempts=described["attempts"],
        next_attempt_at=described["next_attempt_at"],
        last_error=LastError(FailureReason(error["reason"]), error["detail"]) if error else None,
        proof=Proof(**proof) if proof else None,
    )


def outcome(described: Vector) -> Outcome:
    match described["kind"]:
        case "created":
            return Created(upload(described["upload"]), Ticket(**described.get("ticket", TICKET)))
        case "ticket_issued":
            return TicketIssued(Ticket(**described["ticket"]))
        case "appended":
            return Appended(upload(described["upload"]))
        case "upload_found":
            durable = tuple(Range(*each) for each in described["durable"])
            return UploadFound(upload(described["upload"]), durable, described["delivered"])
        case "content":
            return Content(upload(described["upload"]), nothing())
        case "receipt_signed":
            return ReceiptSigned(described["statement"], described["jws"])
        case "cancelled":
            return Cancelled(described["upload_id"])
        case "tickets_revoked":
            return TicketsRevoked(described["upload_id"])
        case "listed":
            found = tuple(upload(each) for each in described["uploads"])
            return Listed(found, described.get("all_projects", False))
        case other:
            raise ValueError(other)


async def nothing() -> AsyncIterator[bytes]:
    yield b""


def shown(reply: Reply) -> Vector:
    """A reply as vectors write it, after the same way through JSON as on the wire."""
    document = None if reply.document is None else json.loads(json.dumps(dict(reply.document)))
    return {"status": reply.status, "headers": dict(reply.headers), "document": document}


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
