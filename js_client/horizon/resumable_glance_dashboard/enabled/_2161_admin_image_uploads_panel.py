# Admin > Compute > Image Uploads: the uploads of all projects.

PANEL = "image_uploads"
PANEL_DASHBOARD = "admin"
PANEL_GROUP = "compute"
ADD_PANEL = "resumable_glance_dashboard.panels.admin.panel.ImageUploads"
