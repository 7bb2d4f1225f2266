"""Image services (Glance, a directory), and the inspection of image formats."""
