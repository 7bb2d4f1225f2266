"""The tables of uploads in both panels."""

from django.template.defaultfilters import timesince
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy, npgettext_lazy, pgettext_lazy
from horizon import tables

from resumable_glance_dashboard import service
from resumable_glance_dashboard.sizes import format_size

STATE_LABELS = (
    ("receiving", _("Receiving")),
    ("sealed", _("Received")),
    ("delivering", _("Saving to the image service")),
    ("verifying", _("Verifying")),
    ("active", _("Active")),
    ("failed", _("Failed")),
    ("cancelled", _("Cancelled")),
    ("expired", _("Expired")),
    ("joined", _("Joined")),
)
# Horizon's status_choices: True is success, False failure; a row in any other state is polled.
STATE_OUTCOMES = (("active", True), ("failed", False), ("cancelled", True), ("expired", True), ("joined", True))
DASH = "—"


def size(upload):
    """Return the size as an element that table_sorter.js can sort."""
    return format_html('<span data-bytes="{}">{}</span>', upload.size, format_size(upload.size))


def progress(upload):
    """Return the received part, in percent and as a size."""
    if upload.state == "active":
        return "100 %"
    if upload.final and upload.state != "failed":
        return DASH
    percent = 100 * upload.received // upload.size if upload.size else 0
    return _("%(share)d %% (%(received)s)") % {"share": percent, "received": format_size(upload.received)}


def average_rate(upload):
    """Return the average rate since creation, while bytes arrive."""
    seconds = (upload.updated_at - upload.created_at).total_seconds()
    if upload.state != "receiving" or not upload.received or seconds < 1:
        return DASH
    return _("%s/s") % format_size(upload.received / seconds)


def age(upload):
    """Return the time since creation."""
    return timesince(upload.created_at, timezone.now())


def project_image_url(upload):
    """Return the path of the image's page in the project dashboard, or None without an image."""
    return _image_url(upload, "horizon:project:images:images:detail")


def admin_image_url(upload):
    """Return the path of the image's page in the admin dashboard, or None without an image."""
    return _image_url(upload, "horizon:admin:images:detail")


def _image_url(upload, view):
    if not service.IMAGE_ID.fullmatch(upload.image_id or "") or upload.state in {"cancelled", "expired", "joined"}:
        return None
    return reverse(view, args=(upload.image_id,))


class CancelUpload(tables.BatchAction):
    """Cancel uploads that have failed or are not final."""

    name = "cancel"
    action_type = "danger"
    icon = "remove"
    help_text = _("The uploaded bytes and the image are removed.")
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
    """Repeat the handoff of failed uploads."""

    name = "retry"
    icon = "refresh"
    help_text = _("The uploaded bytes are saved to the image service again.")
    policy_rules = (("image", "upload_image"),)

    @staticmethod
    def action_present(count):
        return ngettext_lazy("Retry Upload", "Retry Uploads", count)

    @staticmethod
    def action_past(count):
        return ngettext_lazy("Retried Upload", "Retried Uploads", count)

    def allowed(self, request, upload=None):
        return upload is not None and upload.state == "failed"

    def action(self, request, obj_id):
        service.retry(request, obj_id)


class ResumeUpload(tables.LinkAction):
    """A link that opens the header indicator, which has the file or asks for it (header.js)."""

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
    """Keep uploads whose image name or state contains the text."""

    def filter(self, table, uploads, filter_string):
        text = filter_string.lower()
        return [each for each in uploads if text in each.name.lower() or text in each.state]


class PolledRow(tables.Row):
    """A row that Horizon polls until its state is final."""

    ajax = True

    def get_data(self, request, upload_id):
        return service.get_upload(request, upload_id)


class UploadsTable(tables.DataTable):
    """The user's own uploads."""

    name = tables.Column("name", verbose_name=_("Image Name"), link=project_image_url)
    size = tables.Column(size, verbose_name=_("Size"), attrs={"data-sorter": "resumableGlanceBytes"})
    state = tables.Column(
        "state",
        verbose_name=_("State"),
        status=True,
        status_choices=STATE_OUTCOMES,
        display_choices=STATE_LABELS,
    )
    progress = tables.Column(progress, verbose_name=_("Received"))
    rate = tables.Column(average_rate, verbose_name=_("Average Rate"))
    age = tables.Column(age, verbose_name=_("Age"))

    def get_object_display(self, upload):
        return upload.name or upload.id

    class Meta:
        name = "image_uploads"
        verbose_name = _("Image Uploads")
        row_class = PolledRow
        status_columns = ("state",)
        table_actions = (Filter, CancelUpload)
        row_actions = (ResumeUpload, RetryUpload, CancelUpload)


class AllUploadsTable(UploadsTable):
    """The uploads of all projects."""

    project_name = tables.Column("project_name", verbose_name=_("Project"))
    name = tables.Column("name", verbose_name=_("Image Name"), link=admin_image_url)

    class Meta(UploadsTable.Meta):
        columns = ("project_name", "name", "size", "state", "progress", "rate", "age")
        row_actions = (RetryUpload, CancelUpload)
        # Rows are not polled: the service names an upload's project in lists only.
        row_class = tables.Row
        status_columns = ()
