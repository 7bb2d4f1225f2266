"""A Horizon plugin: both Create Image dialogs upload through resumable-glance.

Horizon asks the service for an upload and a ticket and gives only these to the page. Image data does not pass through
Django, and the Keystone token does not reach the browser.
"""
