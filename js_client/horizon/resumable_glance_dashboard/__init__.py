"""A plugin for Horizon: both Create Image dialogs upload through resumable-glance.

The file never passes through Django, and the Keystone token never reaches the browser: Horizon asks the service for
an upload and a ticket, and gives the page only these.
"""
