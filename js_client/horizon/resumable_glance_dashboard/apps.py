"""What happens when Horizon starts."""

from django.apps import AppConfig


class ResumableGlance(AppConfig):
    name = "resumable_glance_dashboard"
    label = "resumable_glance_dashboard"
    verbose_name = "Resumable uploads"

    def ready(self):
        # Only now may Horizon's own modules be imported.
        from resumable_glance_dashboard import hook, rest  # noqa: F401  (rest registers its URLs)

        hook.install()
