"""The admin panel: the uploads of all projects."""

from django.utils.translation import gettext_lazy as _
from horizon import exceptions, tables
from openstack_dashboard.api import keystone

from resumable_glance_dashboard import service
from resumable_glance_dashboard.panels.tables import AllUploadsTable


class IndexView(tables.DataTableView):
    """The page of the panel; without project names, ids are shown."""

    table_class = AllUploadsTable
    page_title = _("Image Uploads")

    def get_data(self):
        try:
            uploads = service.list_uploads(self.request, all_projects=True)
        except Exception:
            exceptions.handle(self.request, _("Unable to retrieve uploads."))
            return []
        names = self._project_names()
        for upload in uploads:
            upload.project_name = names.get(upload.project_id, upload.project_id)
        return uploads

    def _project_names(self):
        try:
            projects, _has_more = keystone.tenant_list(self.request)
        except Exception:
            exceptions.handle(self.request, _("Unable to retrieve project names."))
            return {}
        return {each.id: each.name for each in projects}
