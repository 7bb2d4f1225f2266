"""Refusals as problem documents (RFC 9457), for all protocols without a form of their own."""

from __future__ import annotations

from resumable_glance.api.protocols.base import Reply, RequestContext
from resumable_glance.errors import Reason, Refused

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


def refuse(refusal: Refused, context: RequestContext) -> Reply:
    """Return the reply to a refused request; its headers repeat some of the document's members."""
    status = refusal.reason.status
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    headers |= {HEADERS[fact]: str(value) for fact, value in refusal.facts.items() if fact in HEADERS}
    if refusal.reason in CHALLENGES:
        headers["WWW-Authenticate"] = CHALLENGES[refusal.reason]
    document = {
        "type": TYPE_PREFIX + refusal.reason.value,
        "title": refusal.reason.value.replace("-", " ").capitalize(),
        "status": status,
        "detail": refusal.detail,
        "request_id": context.request_id,
        **refusal.facts,
    }
    return Reply(status, headers, document)
