"""Settings: the optional dictionary RESUMABLE_GLANCE in Horizon's local_settings.py."""

from django.conf import settings

DEFAULTS = {
    # The service's type in Keystone's catalog.
    "service_type": "image-upload",
    # The service's URL for browsers; overrides the catalog's public endpoint.
    "public_url": None,
    # The service's URL for Horizon; default: the catalog's endpoint of OPENSTACK_ENDPOINT_TYPE, else public_url.
    "internal_url": None,
    # Timeout of Horizon's requests to the service, in seconds.
    "timeout": 30,
    # Resume interrupted uploads on the next page if the browser can still read the file.
    "auto_resume": True,
}


def get(name):
    """Return the value of a setting."""
    return {**DEFAULTS, **getattr(settings, "RESUMABLE_GLANCE", {})}[name]


def tls_verification():
    """Return the `verify` argument of requests, from Horizon's TLS settings."""
    if getattr(settings, "OPENSTACK_SSL_NO_VERIFY", False):
        return False
    return getattr(settings, "OPENSTACK_SSL_CACERT", None) or True
