"""The settings: RESUMABLE_GLANCE in Horizon's local_settings.py, a dictionary, all of it optional."""

from django.conf import settings

DEFAULTS = {
    # How the service is found in Keystone's catalogue.
    "service_type": "image-upload",
    # Its address as browsers see it; overrides the catalogue's public endpoint.
    "public_url": None,
    # Its address as Horizon sees it; by default the catalogue's endpoint of OPENSTACK_ENDPOINT_TYPE, else public_url.
    "internal_url": None,
    # Seconds that Horizon waits for the service while it asks for an upload.
    "timeout": 30,
    # Whether a page takes up, by itself, what the last page could not finish (where the browser still has the file).
    "auto_resume": True,
}


def get(name):
    """The value of a setting."""
    return {**DEFAULTS, **getattr(settings, "RESUMABLE_GLANCE", {})}[name]


def verify():
    """What requests needs to know of TLS: Horizon's own settings."""
    if getattr(settings, "OPENSTACK_SSL_NO_VERIFY", False):
        return False
    return getattr(settings, "OPENSTACK_SSL_CACERT", None) or True
