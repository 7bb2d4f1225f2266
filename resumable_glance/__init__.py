"""Resumable, verified uploads of big images into OpenStack Glance."""

__version__ = "0.1.0"
