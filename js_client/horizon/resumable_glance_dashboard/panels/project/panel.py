"""The panel Project > Compute > Image Uploads, shown where the service is."""

import horizon
from django.utils.translation import gettext_lazy as _

from resumable_glance_dashboard import service


class ImageUploads(horizon.Panel):
    name = _("Image Uploads")
    slug = "image_uploads"
    permissions = ("openstack.services.image",)
    policy_rules = (("image", "get_images"),)

    def allowed(self, context):
        return super().allowed(context) and service.available(context["request"])
