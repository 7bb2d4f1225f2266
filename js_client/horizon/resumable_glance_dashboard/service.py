"""The client of the service: Horizon's requests, made with the user's Keystone token.

Nothing that this module returns for a page contains the token.
"""

import dataclasses
import datetime
import json
import logging
import re

import requests
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from horizon import exceptions
from openstack_dashboard.api import base

from resumable_glance_dashboard import conf

LOG = logging.getLogger(__name__)
UPLOAD_ID = re.compile(r"[a-z0-9]{1,16}-[0-9a-f]{32}")  # as in the service's storage
IMAGE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # as in Glance's schema of images
FINAL_STATES = frozenset({"active", "failed", "cancelled", "expired", "joined"})


class Refused(exceptions.NotAvailable):
    """A request that failed; str() is a sentence for the user, `status_code` an HTTP status."""

    def __init__(self, sentence, status=502):
        super().__init__(sentence)
        self.status_code = status


@dataclasses.dataclass(frozen=True)
class Endpoints:
    """The service's base URLs, without a trailing slash: for browsers and for Horizon."""

    public: str
    internal: str


@dataclasses.dataclass
class Upload:
    """An upload as the service describes it; `size` and `received` in bytes."""

    id: str
    state: str
    name: str
    size: int
    received: int
    image_id: str | None
    created_at: datetime.datetime
    updated_at: datetime.datetime
    last_error: str  # a sentence; empty in lists
    project_id: str | None  # only in lists of all projects
    project_name: str = ""  # set by the panel that shows it

    @property
    def final(self):
        return self.state in FINAL_STATES


def available(request):
    """Return whether the user's cloud has the service."""
    return endpoints(request) is not None


def endpoints(request):
    """Return the Endpoints from the settings or the user's catalog, or None without the service."""
    service_type = conf.get("service_type")

    def in_catalog(interface=None):
        try:
            return base.url_for(request, service_type, endpoint_type=interface)
        except exceptions.ServiceCatalogException:
            return None

    public = conf.get("public_url") or in_catalog("publicURL")
    if not public:
        return None
    internal = conf.get("internal_url") or in_catalog() or public
    return Endpoints(public.rstrip("/"), internal.rstrip("/"))


def identity(request):
    """Return a keyed hash of the user and project, by which a browser keeps its records of uploads apart."""
    owner = json.dumps([request.user.project_id, request.user.id])
    return salted_hmac("resumable_glance_dashboard.identity", owner, algorithm="sha256").hexdigest()


def create(request, image, size):
    """Create an upload of `size` bytes and its image in Glance. Raises Refused.

    Returns the image's id and the grant for the page: the upload's id and URL, the endpoint and a ticket.
    """
    document = _request(request, "POST", json={"size": size, "image": image})
    image_id = document["image"]["id"]
    if not IMAGE_ID.fullmatch(image_id):
        LOG.error("%r is no id of an image", image_id)
        raise Refused(_("There is no such image."), 502)
    return image_id, _grant(request, document["id"], document["ticket"])


def renew_ticket(request, upload_id):
    """Return a grant with a new ticket; the service also takes over this session's token. Raises Refused."""
    return _grant(request, upload_id, _request(request, "POST", _path(upload_id, "/ticket")))


def cancel(request, upload_id):
    """Cancel an upload; the service removes its bytes and its image. Raises Refused."""
    _request(request, "DELETE", _path(upload_id))


def retry(request, upload_id):
    """Repeat the handoff of a failed upload with this session's token. Raises Refused."""
    _request(request, "POST", _path(upload_id, "/retry"))


def list_uploads(request, all_projects=False):
    """Return the user's uploads, or those of all projects, newest first. Raises Refused."""
    document = _request(request, "GET", params={"all_projects": "1"} if all_projects else {})
    uploads = [_parse_upload(each) for each in document["uploads"]]
    return sorted(uploads, key=lambda each: each.created_at, reverse=True)


def get_upload(request, upload_id):
    """Return one upload. Raises Refused."""
    return _parse_upload(_request(request, "GET", _path(upload_id)))


def _path(upload_id, action=""):
    if not UPLOAD_ID.fullmatch(upload_id):
        raise Refused(_("There is no such upload."), 404)
    return f"/{upload_id}{action}"


def _grant(request, upload_id, ticket):
    public = endpoints(request).public
    return {
        "id": upload_id,
        "endpoint": public,
        "url": f"{public}/v1/uploads{_path(upload_id)}",
        "ticket": ticket["value"],
    }


def _request(request, method, path="", **arguments):
    found = endpoints(request)
    if found is None:
        raise Refused(_("This cloud has no service for resumable uploads."), 404)
    try:
        response = requests.request(
            method,
            f"{found.internal}/v1/uploads{path}",
            headers={"X-Auth-Token": request.user.token.id, "Accept": "application/json"},
            timeout=conf.get("timeout"),
            verify=conf.tls_verification(),
            allow_redirects=False,
            **arguments,
        )
        document = response.json() if response.content else {}
    except (requests.RequestException, ValueError):
        LOG.exception("no valid response from resumable-glance at %s", found.internal)
        raise Refused(_("The service for resumable uploads does not respond. Try again later."), 503) from None
    if response.status_code < 300:
        return document
    LOG.warning("%s %s%s: %s %s", method, found.internal, path, response.status_code, document)
    raise _refusal(response, document)


def _refusal(response, document):
    status = response.status_code
    if status == 401:
        # Not passed on: Angular logs the user out on any 401.
        return Refused(_("The service for resumable uploads did not accept your session. Sign in again."), 409)
    sentence = str(document.get("detail") or document.get("title") or response.reason)
    return Refused(sentence, status if 400 <= status < 500 else 502)


def _parse_upload(document):
    image = document.get("image") or {}
    last_error = (document.get("handoff") or {}).get("last_error") or {}
    return Upload(
        id=document["id"],
        state=document["state"],
        name=image.get("name") or "",
        size=document.get("size") or 0,
        received=document.get("received") or 0,
        image_id=image.get("id"),
        created_at=_parse_time(document["created_at"]),
        updated_at=_parse_time(document["updated_at"]),
        last_error=last_error.get("detail") or "",
        project_id=(document.get("owner") or {}).get("project_id"),
    )


def _parse_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
