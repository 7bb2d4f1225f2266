# Project > Compute > Image Uploads: the user's own uploads.

PANEL = "image_uploads"
PANEL_DASHBOARD = "project"
PANEL_GROUP = "compute"
ADD_PANEL = "resumable_glance_dashboard.panels.project.panel.ImageUploads"
