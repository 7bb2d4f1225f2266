"""The header indicator's element; the page fills it (header.js), so that no page waits for the service."""

from django.views import generic
from openstack_dashboard import policy

from resumable_glance_dashboard import conf, service


class Indicator(generic.TemplateView):
    """An empty element for users who may upload; otherwise nothing."""

    template_name = "resumable_glance_dashboard/header.html"

    def get_context_data(self, **kwargs):
        context = super().get_context_data(**kwargs)
        context["visible"] = (
            self.request.user.is_authenticated
            and service.available(self.request)
            and policy.check((("image", "upload_image"),), self.request)
        )
        context["auto_resume"] = conf.get("auto_resume")
        return context
