"""The one exception of requests: refused, for a reason, with a sentence that a person can act on."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """A reason for a refusal, in the order of docs/problems.md.

    Its value ends the problem type on the wire. `status` is the HTTP status, unless a protocol's specification has
    another one.
    """

    status: int

    def __new__(cls, value: str, status: int = 0) -> Reason:  # a lookup by value, Reason("not-found"), names no status
        member = str.__new__(cls, value)
        member._value_ = value
        member.status = status
        return member

    # The request
    MALFORMED = "malformed-request", 400
    HEAD_TOO_LARGE = "head-too-large", 431
    NOT_FOUND = "not-found", 404
    METHOD_NOT_ALLOWED = "method-not-allowed", 405
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type", 415
    UNSUPPORTED_ENCODING = "unsupported-content-encoding", 415
    UNSUPPORTED_DIGEST = "unsupported-digest", 400
    UNSUPPORTED_VERSION = "unsupported-version", 412
    KEY_REUSED = "idempotency-key-reused", 422
    # The bytes of a chunk
    WRONG_OFFSET = "wrong-offset", 409
    WRONG_TOTAL = "wrong-total", 400
    WRONG_DIGEST = "wrong-digest", 409
    BODY_TOO_LONG = "body-too-long", 413
    BODY_TOO_SHORT = "body-too-short", 400
    CHUNK_TOO_LARGE = "chunk-too-large", 413
    CHUNK_DIGEST_MISMATCH = "chunk-digest-mismatch", 422
    DIFFERENT_BYTES = "different-bytes", 409
    # The image
    FORMAT_MISMATCH = "format-mismatch", 422
    UNSAFE_IMAGE = "unsafe-image", 422
    DISK_TOO_LARGE = "disk-too-large", 422
    UPLOAD_TOO_LARGE = "upload-too-large", 413
    IMAGE_UNKNOWN = "image-unknown", 404
    IMAGE_NOT_QUEUED = "image-not-queued", 409
    IMAGE_REFUSED = "image-refused", 400
    OVER_QUOTA = "over-quota", 413
    # Access
    UNAUTHENTICATED = "unauthenticated", 401
    TICKET_EXPIRED = "ticket-expired", 401
    FORBIDDEN = "forbidden", 403
    UNKNOWN_UPLOAD = "unknown-upload", 404
    # The state of the upload
    UNFINISHED = "upload-unfinished", 409
    SEALED = "upload-sealed", 409
    JOINED = "upload-joined", 403  # tus: concatenation
    CANCELLED = "upload-cancelled", 410
    EXPIRED = "upload-expired", 410
    LOST = "upload-lost", 410
    USELESS = "retry-useless", 409
    # The service
    OVER_LIMIT = "over-limit", 429
    NO_SPACE = "no-scratch-space", 507
    SCRATCH_FAILED = "scratch-failed", 500
    IDENTITY_UNAVAILABLE = "identity-unavailable", 503
    IMAGE_SERVICE_UNAVAILABLE = "image-service-unavailable", 503
    BUSY = "too-busy", 503
    CLOSING = "shutting-down", 503
    INTERNAL = "internal-error", 500
    # Interrupted requests
    STALLED = "stalled", 408
    SUPERSEDED = "superseded", 409
    DISCONNECTED = "disconnected", 400  # only the log has it


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
