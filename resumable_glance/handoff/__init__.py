"""Bytes from storage into the image service."""
