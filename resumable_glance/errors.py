"""The exceptions of the service: Refused for requests, CannotStart for the process."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """The reason of a refusal, in the order of docs/problems.md.

    The value is the last part of the problem type on the wire. `status` is the HTTP status, unless the specification of
    a protocol has another one.
    """

    status: int

    def __new__(cls, value: str, status: int = 0) -> Reason:  # without a status in a lookup: Reason("not-found")
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
    DISCONNECTED = "disconnected", 400  # only in the log


class CannotStart(Exception):
    """The service can't start; the sentence tells the operator what to do."""


class Refused(Exception):
    """A request can't be carried out.

    Code and tests compare `reason`; `detail` is a sentence for people, which may change. `facts` are further members of
    the problem document: an offset or a limit in bytes, seconds to wait.
    """

    def __init__(self, reason: Reason, detail: str, **facts: int | str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.facts = facts

    def __repr__(self) -> str:
        return f"Refused({self.reason.value}: {self.detail})"
