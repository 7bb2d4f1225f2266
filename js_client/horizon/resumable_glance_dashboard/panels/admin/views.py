"""The uploads of all projects."""

from django.utils.translation import gettext_lazy as _
from horizon import exceptions, tables
from openstack_dashboard.api import keystone

from resumable_glance_dashboard import service
from resumable_glance_dashboard.panels.tables import EverybodysUploadsTable


class IndexView(tables.DataTableView):
    table_class = EverybodysUploadsTable
    page_title = _("Image Uploads")

    def get_data(self):
        try:
            uploads = service.uploads(self.request, everybodys=True)
        except Exception:
            exceptions.handle(self.request, _("Unable to retrieve the uploads."))
            return []
        names = self._projects()
        for upload in uploads:
            upload.owner = names.get(upload.project_id, upload.project_id)
        return uploads

    def _projects(self):
        try:
            projects, _more = keystone.tenant_list(self.request)
        except Exception:
            exceptions.handle(self.request, _("Unable to retrieve the names of the projects."))
            return {}
        return {each.id: each.name for each in projects}
