"""The plugin's REST API for its pages; like all of Horizon's, it needs a session and a CSRF token and speaks JSON."""

from django.views import generic
from openstack_dashboard.api.rest import urls
from openstack_dashboard.api.rest import utils as rest_utils

from resumable_glance_dashboard import service

ONE = f"(?P<upload_id>{service.UPLOAD_ID.pattern})"


@urls.register
class Uploads(generic.View):
    """The user's own uploads."""

    url_regex = r"resumable_glance/uploads/$"

    @rest_utils.ajax()
    def get(self, request):
        """Return {"endpoint", "identity", "items"}.

        These are the service's public URL or null, whom the page remembers uploads for, and the uploads, newest first.
        """
        identity = service.identity(request)
        endpoints = service.endpoints(request)
        if endpoints is None:
            return {"endpoint": None, "identity": identity, "items": []}
        return {
            "endpoint": endpoints.public,
            "identity": identity,
            "items": [_to_json(each) for each in service.list_uploads(request)],
        }


@urls.register
class Upload(generic.View):
    """One upload."""

    url_regex = rf"resumable_glance/uploads/{ONE}/$"

    @rest_utils.ajax()
    def get(self, request, upload_id):
        """Return the upload as in the list, with `last_error`: a sentence, empty if there is none."""
        upload = service.get_upload(request, upload_id)
        return {**_to_json(upload), "last_error": upload.last_error}

    @rest_utils.ajax()
    def delete(self, request, upload_id):
        """Cancel the upload; the service removes its bytes and its image."""
        service.cancel(request, upload_id)


@urls.register
class Ticket(generic.View):
    """The ticket with which a page sends the bytes of one upload."""

    url_regex = rf"resumable_glance/uploads/{ONE}/ticket/$"

    @rest_utils.ajax()
    def post(self, request, upload_id):
        """Return a new ticket: {"id", "endpoint", "url", "ticket"}."""
        return service.renew_ticket(request, upload_id)


def _to_json(upload):
    return {
        "id": upload.id,
        "state": upload.state,
        "name": upload.name,
        "size": upload.size,
        "received": upload.received,
    }
