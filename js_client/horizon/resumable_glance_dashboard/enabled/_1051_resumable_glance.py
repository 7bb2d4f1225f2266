# Resumable uploads in both Create Image dialogs, and an indicator in the header.
# Copy this file and those beside it into openstack_dashboard/local/enabled/.

FEATURE = "resumable_glance"

ADD_INSTALLED_APPS = ["resumable_glance_dashboard"]
ADD_ANGULAR_MODULES = ["horizon.resumable_glance"]
ADD_HEADER_SECTIONS = ["resumable_glance_dashboard.header.Indicator"]

_STATIC = "resumable_glance_dashboard/"
ADD_JS_FILES = [
    _STATIC + "client/resumable-glance.iife.js",
    _STATIC + "words.js",
    _STATIC + "uploads.js",
    _STATIC + "meter.js",
    _STATIC + "indicator.js",
    _STATIC + "django.js",
    _STATIC + "angular.js",
]
ADD_SCSS_FILES = [_STATIC + "resumable-glance.scss"]
