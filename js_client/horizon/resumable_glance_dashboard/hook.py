"""The one place where Horizon is changed on the server: how an image with an external file is created.

Both dialogs, Angular's and Django's, come through openstack_dashboard.api.glance.image_create, with the name of the
file as `data` if HORIZON_IMAGES_UPLOAD_MODE is "direct". Horizon then makes a queued image, and hands the page its
address and the user's Keystone token. We let the service make the image, so that it is also who removes it if the
upload is cancelled or abandoned, and hand the page an upload and a ticket.
"""

import functools
import logging

from django.utils.translation import gettext as _
from openstack_dashboard.api import glance

from resumable_glance_dashboard import service

LOG = logging.getLogger(__name__)
SIZE_HEADER = "X-Resumable-Glance-Size"
SIZE_FIELD = "resumable_glance_size"
# What the service has names of its own for; all others are further properties of the image.
FIELDS = ("name", "disk_format", "container_format", "visibility", "min_disk", "min_ram", "protected", "tags")


class ResumablyUploadedImage(glance.Image):
    """An image whose bytes the page sends through resumable-glance.

    It looks to Horizon like its own ExternallyUploadedImage; in place of the Keystone token is what goes into the
    field Authorization.
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
    """Put ourselves before Horizon's own function, once."""
    horizons = glance.image_create
    if getattr(horizons, "resumable_glance", False):
        return

    @functools.wraps(horizons)
    def image_create(request, **kwargs):
        if not isinstance(kwargs.get("data"), str) or not service.available(request):
            return horizons(request, **kwargs)
        return create(request, **kwargs)

    image_create.resumable_glance = True
    glance.image_create = image_create


def create(request, data, **described):
    """An image whose file, `data` by name, is going to be sent by the page. Raises service.Refused."""
    image = {name: described.pop(name) for name in FIELDS if described.get(name) is not None}
    further = {name: _text(value) for name, value in described.items() if value not in (None, "")}
    image_id, grant = service.create(request, {**image, "properties": further}, _size(request))
    return ResumablyUploadedImage(glance.glanceclient(request).images.get(image_id), grant)


def _size(request):
    text = request.headers.get(SIZE_HEADER) or request.POST.get(SIZE_FIELD) or ""
    if not text.isascii() or not text.isdigit():
        LOG.warning("an upload without its size; the page was loaded before this plugin was installed")
        raise service.Refused(_("This page is older than the dashboard. Reload it and try again."), 409)
    return int(text)


def _text(value):
    return ("True" if value else "False") if isinstance(value, bool) else str(value)
