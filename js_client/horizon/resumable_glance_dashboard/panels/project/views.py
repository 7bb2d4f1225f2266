"""The project panel: the user's own uploads."""

from django.utils.translation import gettext_lazy as _
from horizon import exceptions, tables

from resumable_glance_dashboard import service
from resumable_glance_dashboard.panels.tables import UploadsTable


class IndexView(tables.DataTableView):
    """The page of the panel."""

    table_class = UploadsTable
    page_title = _("Image Uploads")

    def get_data(self):
        try:
            return service.list_uploads(self.request)
        except Exception:
            exceptions.handle(self.request, _("Unable to retrieve uploads."))
            return []
