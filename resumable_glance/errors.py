"""The one exception of requests: refused, for a reason, with a sentence that a person can act on.

No HTTP status lives here: how a reason looks on the wire is each dialect's business.
"""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Why a request was refused. The values are stable: they are part of the problem types on the wire."""

    # What the client sent
    MALFORMED = "malformed-request"
    HEAD_TOO_LARGE = "head-too-large"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    UNSUPPORTED_ENCODING = "unsupported-content-encoding"
    UNSUPPORTED_DIGEST = "unsupported-digest"
    UNSUPPORTED_VERSION = "unsupported-version"
    WRONG_TOTAL = "wrong-total"
    WRONG_DIGEST = "wrong-digest"
    WRONG_OFFSET = "wrong-offset"
    BODY_TOO_LONG = "body-too-long"
    BODY_TOO_SHORT = "body-too-short"
    CHUNK_TOO_LARGE = "chunk-too-large"
    CHUNK_DIGEST_MISMATCH = "chunk-digest-mismatch"
    DIFFERENT_BYTES = "different-bytes"
    KEY_REUSED = "idempotency-key-reused"
    # What the image's bytes are; protocol.upload.Hitch has the same names
    FORMAT_MISMATCH = "format-mismatch"
    UNSAFE_IMAGE = "unsafe-image"
    DISK_TOO_LARGE = "disk-too-large"
    # Who sent it
    UNAUTHENTICATED = "unauthenticated"
    TICKET_EXPIRED = "ticket-expired"
    FORBIDDEN = "forbidden"
    UNKNOWN_UPLOAD = "unknown-upload"
    # What the upload is at
    CANCELLED = "upload-cancelled"
    EXPIRED = "upload-expired"
    UNFINISHED = "upload-unfinished"
    SEALED = "upload-sealed"
    JOINED = "upload-joined"
    LOST = "upload-lost"
    USELESS = "retry-useless"
    # What the image allows
    UPLOAD_TOO_LARGE = "upload-too-large"
    IMAGE_UNKNOWN = "image-unknown"
    IMAGE_NOT_QUEUED = "image-not-queued"
    IMAGE_REFUSED = "image-refused"
    OVER_QUOTA = "over-quota"
    OVER_LIMIT = "over-limit"
    # What the service can do right now
    NO_SPACE = "no-scratch-space"
    SCRATCH_FAILED = "scratch-failed"
    IDENTITY_UNAVAILABLE = "identity-unavailable"
    IMAGE_SERVICE_UNAVAILABLE = "image-service-unavailable"
    BUSY = "too-busy"
    CLOSING = "shutting-down"
    INTERNAL = "internal-error"
    # How a body ended before its end
    DISCONNECTED = "disconnected"
    STALLED = "stalled"
    SUPERSEDED = "superseded"


class CannotStart(Exception):
    """The service can't be started like this; the sentence says what an operator can do about it."""


class Refused(Exception):
    """A request can't be carried out.

    `reason` is what code and tests look at; `detail` is a sentence for a person and may change.
    `facts` are what the answer tells besides (an offset in bytes, a limit in bytes, seconds to wait).
    """

    def __init__(self, reason: Reason, detail: str, **facts: int | str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.facts = facts

    def __repr__(self) -> str:
        return f"Refused({self.reason.value}: {self.detail})"
