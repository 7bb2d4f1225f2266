# Resumable uploads in both Create Image dialogs, and an indicator in the header.
# Copy this file and, for the panels, those beside it into openstack_dashboard/local/enabled/.

FEATURE = "resumable_glance"

ADD_INSTALLED_APPS = ["resumable_glance_dashboard"]
ADD_ANGULAR_MODULES = ["horizon.resumable_glance"]
ADD_HEADER_SECTIONS = ["resumable_glance_dashboard.header.Indicator"]

_STATIC = "resumable_glance_dashboard/"
# In this order: each script uses those before it.
ADD_JS_FILES = [
    _STATIC + "client/resumable-glance.iife.js",
    _STATIC + "messages.js",
    _STATIC + "dom.js",
    _STATIC + "file_picker.js",
    _STATIC + "uploads.js",
    _STATIC + "progress_widget.js",
    _STATIC + "header.js",
    _STATIC + "django_form.js",
    _STATIC + "angular_dialog.js",
    _STATIC + "table_sorter.js",
]
ADD_SCSS_FILES = [_STATIC + "resumable-glance.scss"]
