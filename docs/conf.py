"""How Sphinx builds this documentation: `python3 noxfile.py -s docs`."""

import resumable_glance

project = "resumable-glance"
author = "The resumable-glance maintainers"
copyright = author
version = release = resumable_glance.__version__

extensions = ["myst_parser", "oslo_config.sphinxext"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
suppress_warnings = ["myst.domains"]  # oslo_config's domain lacks a method that MyST asks for

html_theme = "furo"
html_title = f"resumable-glance {release}"
html_show_copyright = False
