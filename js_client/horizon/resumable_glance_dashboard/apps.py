"""The plugin's start, once Django has loaded all applications."""

from django.apps import AppConfig


class ResumableGlance(AppConfig):
    """The plugin as a Django application."""

    name = "resumable_glance_dashboard"
    label = "resumable_glance_dashboard"
    verbose_name = "Resumable uploads"

    def ready(self):
        """Register the REST API and replace Horizon's image_create()."""
        # Horizon's modules cannot be imported earlier.
        from resumable_glance_dashboard import hook, rest  # noqa: F401  (importing rest registers its URLs)

        hook.install()
