"""Where the header indicator is drawn. What it shows is fetched by the page, so that no page waits for it."""

from django.views import generic
from openstack_dashboard import policy

from resumable_glance_dashboard import conf, service


class Indicator(generic.TemplateView):
    template_name = "resumable_glance_dashboard/indicator.html"

    def get_context_data(self, **kwargs):
        context = super().get_context_data(**kwargs)
        context["here"] = (
            self.request.user.is_authenticated
            and service.available(self.request)
            and policy.check((("image", "upload_image"),), self.request)
        )
        context["auto_resume"] = conf.get("auto_resume")
        return context
