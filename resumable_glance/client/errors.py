"""The errors of the upload client."""

from __future__ import annotations


class ClientError(Exception):
    """The upload cannot go on; the message says what happened and what to do now."""


class UploadGone(ClientError):
    """The service no longer has the upload."""
