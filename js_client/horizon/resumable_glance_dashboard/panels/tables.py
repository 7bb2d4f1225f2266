"""The tables of uploads, for both panels."""

from django.template.defaultfilters import filesizeformat, timesince
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy, npgettext_lazy, pgettext_lazy
from horizon import tables

from resumable_glance_dashboard import service

STATES = (
    ("receiving", _("Receiving")),
    ("sealed", _("Received")),
    ("delivering", _("Going into Glance")),
    ("verifying", _("Being verified")),
    ("active", _("Active")),
    ("failed", _("Failed")),
    ("cancelled", _("Cancelled")),
    ("expired", _("Expired")),
    ("joined", _("Joined")),
)
# For Horizon's tables: True is done, False is broken, anything else is asked for again and again.
OUTCOMES = (("active", True), ("failed", False), ("cancelled", True), ("expired", True), ("joined", True))


def progress(upload):
    """What has come, in words and percent."""
    if upload.final and upload.state != "failed":
        return "—" if upload.state != "active" else "100 %"
    share = 100 * upload.received // upload.size if upload.size else 0
    return _("%(share)d %% (%(received)s)") % {"share": share, "received": filesizeformat(upload.received)}


def rate(upload):
    """Bytes a second on average, while bytes come."""
    seconds = (upload.updated_at - upload.created_at).total_seconds()
    if upload.state != "receiving" or not upload.received or seconds < 1:
        return "—"
    return _("%s/s") % filesizeformat(upload.received / seconds)


def age(upload):
    return timesince(upload.created_at, timezone.now())


def image_url(upload, dashboard="project"):
    """Where the image is shown; None if there is none (any more)."""
    if not upload.image_id or upload.state in {"cancelled", "expired", "joined"}:
        return None
    names = {"project": "horizon:project:images:images:detail", "admin": "horizon:admin:images:detail"}
    return reverse(names[dashboard], args=(upload.image_id,))


def admins_image_url(upload):
    return image_url(upload, "admin")


class CancelUpload(tables.BatchAction):
    name = "cancel"
    action_type = "danger"
    icon = "remove"
    help_text = _("The bytes that have come, and the image that was made for them, are removed.")
    policy_rules = (("image", "upload_image"),)

    @staticmethod
    def action_present(count):
        return ngettext_lazy("Cancel Upload", "Cancel Uploads", count)

    @staticmethod
    def action_past(count):
        return npgettext_lazy("past", "Cancelled Upload", "Cancelled Uploads", count)

    def allowed(self, request, upload=None):
        return upload is None or upload.state == "failed" or not upload.final

    def action(self, request, obj_id):
        service.cancel(request, obj_id)


class RetryUpload(tables.BatchAction):
    name = "retry"
    icon = "refresh"
    help_text = _("The bytes are kept. They are given to the image service once more.")
    policy_rules = (("image", "upload_image"),)

    @staticmethod
    def action_present(count):
        return ngettext_lazy("Try Again", "Try Again", count)

    @staticmethod
    def action_past(count):
        return ngettext_lazy("Trying again with upload", "Trying again with uploads", count)

    def allowed(self, request, upload=None):
        return upload is not None and upload.state == "failed"

    def action(self, request, obj_id):
        service.retry(request, obj_id)


class ResumeUpload(tables.LinkAction):
    """Opens the header indicator, which has the file or asks for it."""

    name = "resume"
    verbose_name = pgettext_lazy("an upload", "Resume")
    icon = "play"
    classes = ("resumable-glance-resume",)
    policy_rules = (("image", "upload_image"),)

    def allowed(self, request, upload=None):
        return upload is not None and upload.state == "receiving"

    def get_link_url(self, upload=None):
        return f"#resume-upload={upload.id}"


class Filter(tables.FilterAction):
    def filter(self, table, uploads, filter_string):
        wanted = filter_string.lower()
        return [each for each in uploads if wanted in each.name.lower() or wanted in each.state]


class Row(tables.Row):
    ajax = True

    def get_data(self, request, upload_id):
        return service.upload(request, upload_id)


class UploadsTable(tables.DataTable):
    name = tables.Column("name", verbose_name=_("Image Name"), link=image_url)
    size = tables.Column("size", verbose_name=_("Size"), filters=(filesizeformat,), attrs={"data-type": "size"})
    state = tables.Column(
        "state", verbose_name=_("State"), status=True, status_choices=OUTCOMES, display_choices=STATES
    )
    progress = tables.Column(progress, verbose_name=_("Received"))
    rate = tables.Column(rate, verbose_name=_("Average Rate"))
    age = tables.Column(age, verbose_name=_("Age"))

    def get_object_display(self, upload):
        return upload.name or upload.id

    class Meta:
        name = "image_uploads"
        verbose_name = _("Image Uploads")
        row_class = Row
        status_columns = ("state",)
        table_actions = (Filter, CancelUpload)
        row_actions = (ResumeUpload, RetryUpload, CancelUpload)


class EverybodysUploadsTable(UploadsTable):
    owner = tables.Column("owner", verbose_name=_("Owner"))
    name = tables.Column("name", verbose_name=_("Image Name"), link=admins_image_url)

    class Meta(UploadsTable.Meta):
        columns = ("owner", "name", "size", "state", "progress", "rate", "age")
        row_actions = (RetryUpload, CancelUpload)
        # Whose an upload is, is told in the list only.
        row_class = tables.Row
        status_columns = ()
