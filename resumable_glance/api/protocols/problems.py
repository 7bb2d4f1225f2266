"""Refusals as problem+json (RFC 9457), the same in every dialect that has no form of its own for them."""

from __future__ import annotations

from collections.abc import Mapping

from resumable_glance.api.protocols.base import Reply, RequestContext
from resumable_glance.errors import Reason, Refused

STATUS: Mapping[Reason, int] = {
    Reason.MALFORMED: 400,
    Reason.HEAD_TOO_LARGE: 431,
    Reason.NOT_FOUND: 404,
    Reason.METHOD_NOT_ALLOWED: 405,
    Reason.UNSUPPORTED_MEDIA_TYPE: 415,
    Reason.UNSUPPORTED_ENCODING: 415,
    Reason.UNSUPPORTED_DIGEST: 400,
    Reason.UNSUPPORTED_VERSION: 412,
    Reason.WRONG_TOTAL: 400,
    Reason.WRONG_DIGEST: 409,
    Reason.WRONG_OFFSET: 409,
    Reason.BODY_TOO_LONG: 413,
    Reason.BODY_TOO_SHORT: 400,
    Reason.CHUNK_TOO_LARGE: 413,
    Reason.CHUNK_DIGEST_MISMATCH: 422,
    Reason.DIFFERENT_BYTES: 409,
    Reason.KEY_REUSED: 422,
    Reason.FORMAT_MISMATCH: 422,
    Reason.UNSAFE_IMAGE: 422,
    Reason.DISK_TOO_LARGE: 422,
    Reason.UNAUTHENTICATED: 401,
    Reason.TICKET_EXPIRED: 401,
    Reason.FORBIDDEN: 403,
    Reason.UNKNOWN_UPLOAD: 404,
    Reason.CANCELLED: 410,
    Reason.EXPIRED: 410,
    Reason.UNFINISHED: 409,
    Reason.SEALED: 409,
    Reason.JOINED: 403,  # tus: concatenation
    Reason.LOST: 410,
    Reason.USELESS: 409,
    Reason.UPLOAD_TOO_LARGE: 413,
    Reason.IMAGE_UNKNOWN: 404,
    Reason.IMAGE_NOT_QUEUED: 409,
    Reason.IMAGE_REFUSED: 400,
    Reason.OVER_QUOTA: 413,
    Reason.OVER_LIMIT: 429,
    Reason.NO_SPACE: 507,
    Reason.SCRATCH_FAILED: 500,
    Reason.IDENTITY_UNAVAILABLE: 503,
    Reason.IMAGE_SERVICE_UNAVAILABLE: 503,
    Reason.BUSY: 503,
    Reason.CLOSING: 503,
    Reason.INTERNAL: 500,
    Reason.DISCONNECTED: 400,  # nobody is there to read it
    Reason.STALLED: 408,
    Reason.SUPERSEDED: 409,
}
TYPE_PREFIX = "urn:problem-type:resumable-glance:"
CHALLENGES = {  # RFC 9110, section 11.6.1; RFC 6750, section 3
    Reason.UNAUTHENTICATED: "Keystone, Bearer",
    Reason.TICKET_EXPIRED: 'Bearer error="invalid_token"',
}
HEADERS = {  # of a refusal's facts
    "offset": "Upload-Offset",
    "size": "Upload-Length",
    "state": "Upload-State",
    "retry_after": "Retry-After",
    "allow": "Allow",
    "accept_patch": "Accept-Patch",
}


def refuse(refusal: Refused, place: RequestContext) -> Reply:
    """The reply to a refused request, with headers for those who read only these."""
    status = STATUS[refusal.reason]
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    headers |= {HEADERS[fact]: str(value) for fact, value in refusal.facts.items() if fact in HEADERS}
    if refusal.reason in CHALLENGES:
        headers["WWW-Authenticate"] = CHALLENGES[refusal.reason]
    document = {
        "type": TYPE_PREFIX + refusal.reason.value,
        "title": refusal.reason.value.replace("-", " ").capitalize(),
        "status": status,
        "detail": refusal.detail,
        "request_id": place.request_id,
        **refusal.facts,
    }
    return Reply(status, headers, document)
