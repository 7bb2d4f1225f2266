"""What the page asks Horizon: session and CSRF token as for all of Horizon's REST API, JSON both ways."""

from django.views import generic
from openstack_dashboard.api.rest import urls
from openstack_dashboard.api.rest import utils as rest_utils

from resumable_glance_dashboard import service


@urls.register
class Uploads(generic.View):
    """The user's own uploads."""

    url_regex = r"resumable_glance/uploads/$"

    @rest_utils.ajax()
    def get(self, request):
        """{"endpoint": the service's address for browsers, or null; "items": the uploads, the newest first}."""
        found = service.addresses(request)
        items = [] if found is None else service.uploads(request)
        return {
            "endpoint": found and found[0],
            "items": [_described(each, found[0]) for each in items],
        }


@urls.register
class Upload(generic.View):
    """One upload."""

    url_regex = r"resumable_glance/uploads/(?P<upload_id>[^/]+)/$"

    @rest_utils.ajax()
    def get(self, request, upload_id):
        """What the service says of it, as in the list, and what is in its way (`trouble`)."""
        public, _internal = service.addresses(request)
        return _described(service.upload(request, upload_id), public)

    @rest_utils.ajax()
    def delete(self, request, upload_id):
        """Cancel it: nothing of it is left, neither here nor in Glance."""
        service.cancel(request, upload_id)


@urls.register
class Ticket(generic.View):
    """What proves to the service that a page may send this upload's bytes."""

    url_regex = r"resumable_glance/uploads/(?P<upload_id>[^/]+)/ticket/$"

    @rest_utils.ajax()
    def post(self, request, upload_id):
        """A fresh one: {"id", "endpoint", "url", "ticket", "expires_at"}."""
        return service.renew(request, upload_id)


def _described(upload, public):
    return {
        "id": upload.id,
        "url": f"{public}/v1/uploads/{upload.id}",
        "state": upload.state,
        "name": upload.name,
        "size": upload.size,
        "received": upload.received,
        "image_id": upload.image_id,
        "trouble": upload.trouble,
    }
