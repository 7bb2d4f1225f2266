"""The replacement of openstack_dashboard.api.glance.image_create, the only function of Horizon that is replaced.

Both dialogs, Angular's and Django's, call it. With HORIZON_IMAGES_UPLOAD_MODE = "direct", `data` is the file's name:
Horizon creates a queued image and gives the page Glance's URL and the user's Keystone token. The replacement has the
service create the image, so that the service also deletes it if the upload is cancelled or expires, and gives the page
an upload and its ticket.
"""

import functools
import logging

from django.utils.translation import gettext as _
from openstack_dashboard.api import glance

from resumable_glance_dashboard import service

LOG = logging.getLogger(__name__)
SIZE_HEADER = "X-Resumable-Glance-Size"
SIZE_FIELD = "resumable_glance_size"
# Members of the service's image document; all other values are additional properties.
IMAGE_FIELDS = ("name", "disk_format", "container_format", "visibility", "min_disk", "min_ram", "protected", "tags")


class ResumableImage(glance.Image):
    """An image whose data the page sends to the service; stands in for Horizon's ExternallyUploadedImage.

    `token_id` is the value of the Authorization header: a ticket instead of the Keystone token.
    """

    def __init__(self, apiresource, grant):
        super().__init__(apiresource)
        self.grant = grant

    @property
    def upload_url(self):
        return self.grant["url"]

    @property
    def token_id(self):
        return f"Bearer {self.grant['ticket']}"

    def to_dict(self, **options):
        return {
            **super().to_dict(**options),
            "upload_url": self.upload_url,
            "token_id": self.token_id,
            "resumable_upload": self.grant,
        }


def install():
    """Replace Horizon's image_create(), once."""
    original = glance.image_create
    if getattr(original, "resumable_glance", False):
        return

    @functools.wraps(original)
    def image_create(request, **kwargs):
        if not isinstance(kwargs.get("data"), str) or not service.available(request):
            return original(request, **kwargs)
        return create(request, **kwargs)

    image_create.resumable_glance = True
    glance.image_create = image_create


def create(request, data, **metadata):
    """Create an image whose file (`data` is its name) the page will upload. Raises service.Refused."""
    image = {name: metadata.pop(name) for name in IMAGE_FIELDS if metadata.get(name) is not None}
    properties = {name: _property(value) for name, value in metadata.items() if value not in (None, "")}
    image_id, grant = service.create(request, {**image, "properties": properties}, _file_size(request))
    return ResumableImage(glance.glanceclient(request).images.get(image_id), grant)


def _file_size(request):
    """Return the size in bytes that the page declares: in a header (Angular) or a form field (Django)."""
    text = request.headers.get(SIZE_HEADER) or request.POST.get(SIZE_FIELD) or ""
    if not text.isascii() or not text.isdigit():
        LOG.warning("upload without a size: the page was loaded before the plugin was installed")
        raise service.Refused(_("This page is older than the dashboard. Reload it and try again."), 409)
    return int(text)


def _property(value):
    """Return a property's value as text, the only type that Glance takes."""
    return ("True" if value else "False") if isinstance(value, bool) else str(value)
