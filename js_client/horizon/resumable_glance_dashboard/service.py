"""resumable-glance as Horizon speaks to it: server to server, with the user's Keystone token.

The rule: what leaves this module for a page has no Keystone token in it.
"""

import dataclasses
import datetime
import logging
import re

import requests
from django.utils.translation import gettext as _
from horizon import exceptions
from openstack_dashboard.api import base

from resumable_glance_dashboard import conf

LOG = logging.getLogger(__name__)
ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
# What nothing more will come of.
FINAL = frozenset({"active", "failed", "cancelled", "expired"})


class Refused(exceptions.NotAvailable):
    """The service did not do it; str() is a sentence for the person, status_code an HTTP status."""

    def __init__(self, sentence, status=502):
        super().__init__(sentence)
        self.status_code = status


@dataclasses.dataclass
class Upload:
    """An upload as the service describes it. Sizes in bytes."""

    id: str
    state: str
    name: str
    size: int
    received: int
    image_id: str | None
    project_id: str | None
    user_id: str | None
    created_at: datetime.datetime
    updated_at: datetime.datetime
    trouble: str
    owner: str = ""  # for people

    @property
    def final(self):
        return self.state in FINAL


def available(request):
    """Whether this user's cloud has the service."""
    return addresses(request) is not None


def addresses(request):
    """The service's addresses: (for browsers, for Horizon), or None if there is none."""
    kind = conf.get("service_type")

    def found(interface=None):
        try:
            return base.url_for(request, kind, endpoint_type=interface)
        except exceptions.ServiceCatalogException:
            return None

    public = conf.get("public_url") or found("publicURL")
    if not public:
        return None
    return public.rstrip("/"), (conf.get("internal_url") or found() or public).rstrip("/")


def create(request, image, size):
    """Ask for an upload of `size` bytes that becomes `image`; the image exists in Glance afterwards.

    Returns (image id, what the page is given). Raises Refused.
    """
    document = _ask(request, "POST", "", json={"size": size, "image": image})
    return document["image"]["id"], _grant(request, document["id"], document["ticket"])


def renew(request, upload_id):
    """A fresh ticket, as the page is given it. The service goes on with this session's token. Raises Refused."""
    document = _ask(request, "POST", f"/{_checked(upload_id)}/ticket")
    return _grant(request, upload_id, document.get("ticket", document))


def cancel(request, upload_id):
    """End an upload; the service removes its bytes and the image that was made for it. Raises Refused."""
    _ask(request, "DELETE", f"/{_checked(upload_id)}")


def retry(request, upload_id):
    """Give a failed upload to Glance once more, with this session's token. Raises Refused."""
    _ask(request, "POST", f"/{_checked(upload_id)}/retry")


def uploads(request, everybodys=False):
    """The user's uploads, or those of all projects, the newest first. Raises Refused."""
    answer = _ask(request, "GET", "", params={"all_projects": "1"} if everybodys else {})
    found = [_read(each) for each in answer["uploads"]]
    return sorted(found, key=lambda each: each.created_at, reverse=True)


def upload(request, upload_id):
    """One upload. Raises Refused."""
    return _read(_ask(request, "GET", f"/{_checked(upload_id)}"))


def _grant(request, upload_id, ticket):
    public, _internal = addresses(request)
    return {
        "id": upload_id,
        "endpoint": public,
        "url": f"{public}/v1/uploads/{upload_id}",
        "ticket": ticket["value"],
        "expires_at": ticket["expires_at"],
    }


def _ask(request, method, path, **more):
    found = addresses(request)
    if found is None:
        raise Refused(_("There is no service for resumable uploads in this cloud."), 404)
    try:
        answer = requests.request(
            method,
            f"{found[1]}/v1/uploads{path}",
            headers={"X-Auth-Token": request.user.token.id, "Accept": "application/json"},
            timeout=conf.get("timeout"),
            verify=conf.verify(),
            allow_redirects=False,
            **more,
        )
        document = answer.json() if answer.content else {}
    except (requests.RequestException, ValueError):
        LOG.exception("resumable-glance at %s does not answer", found[1])
        raise Refused(_("The service for resumable uploads does not answer. Try again in a moment."), 503) from None
    if answer.status_code < 300:
        return document
    LOG.warning("%s %s%s: %s %s", method, found[1], path, answer.status_code, document)
    sentence = str(document.get("detail") or document.get("title") or answer.reason)
    if answer.status_code == 401:
        # Not 401: to Angular that means that the person has to be logged out.
        sentence, status = _("The service for resumable uploads does not take your session. Sign in again."), 409
    else:
        status = answer.status_code if 400 <= answer.status_code < 500 else 502
    raise Refused(sentence, status)


def _checked(upload_id):
    if not ID.fullmatch(upload_id):
        raise Refused(_("There is no such upload."), 404)
    return upload_id


def _read(document):
    image = document.get("image") or {}
    trouble = (document.get("handoff") or {}).get("trouble") or {}
    owner = document.get("owner") or {}
    return Upload(
        id=document["id"],
        state=document["state"],
        name=image.get("name") or "",
        size=document.get("size") or 0,
        received=document.get("received") or 0,
        image_id=image.get("id"),
        project_id=owner.get("project_id") or document.get("project_id"),
        user_id=owner.get("user_id") or document.get("user_id"),
        created_at=_moment(document["created_at"]),
        updated_at=_moment(document["updated_at"]),
        trouble=trouble.get("detail") or "",
    )


def _moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
