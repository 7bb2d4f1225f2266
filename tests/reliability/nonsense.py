"""Malformed requests in each protocol."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.reliability.model import Modelled
from tests.reliability.protocols import RUFH, TUS, Chunk, Native, WireProtocol
from tests.support.raw import Request

bad_numbers = st.sampled_from(
    ("+1", "-1", "01", "1_0", "٣", "1.0", "1e1", "0x1", "NaN", "", "9007199254740992", "1 0", "²")
)


def nonsense(upload: Modelled, protocol: WireProtocol, place: int, number: str, twice: bool) -> Request:
    """Return a request with a malformed number in one of its places, or with a header that comes twice."""
    if isinstance(protocol, Native):
        path = f"/v1/uploads/{upload.id}"
        if twice:
            return Request("PATCH", path, (("Content-Range", "bytes 0-0/1"), ("Content-Range", "bytes 0-0/1")), b"x")
        if place == 3:
            document = b'{"size": %s, "image": {"disk_format": "raw", "container_format": "bare"}}' % number.encode()
            return Request("POST", "/v1/uploads", (("Content-Type", "application/json"),), document)
        numbers = ["0", "0", "1"]
        numbers[place] = number
        return Request("PATCH", path, (("Content-Range", "bytes {}-{}/{}".format(*numbers)),), b"x")
    return (_nonsense_in_rufh if protocol is RUFH else _nonsense_in_tus)(upload, place, number, twice)


def _nonsense_in_rufh(upload: Modelled, place: int, number: str, twice: bool) -> Request:
    """Return a request of which a required field is malformed: by RFC 9651 that counts as absent."""
    request = RUFH.create(7) if place == 3 else RUFH.append(upload.id, Chunk(0, 1, b"x", last=False))
    spoilt = "Upload-Complete" if place > 1 or number == "01" else "Upload-Offset"  # 01 is a number there
    headers = [(name, number if name == spoilt and not twice else value) for name, value in request.headers]
    again = [each for each in headers if each[0] == spoilt] if twice else []
    return Request(request.method, request.path, (*headers, *again), request.body)


def _nonsense_in_tus(upload: Modelled, place: int, number: str, twice: bool) -> Request:
    if place == 3:
        lengths = (("Tus-Resumable", "1.0.0"), ("Upload-Length", "7" if twice else number))
        return Request("POST", "/v1/tus", lengths + lengths[1:] * twice)
    request = TUS.append(upload.id, Chunk(0, 1, b"x"))
    kept = [each for each in request.headers if each[0] != "Upload-Offset"]
    offsets = [("Upload-Offset", "0" if twice else number)] * (1 + twice)
    return Request("PATCH", request.path, (*kept, *offsets), request.body)
