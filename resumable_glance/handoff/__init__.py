"""The handoff: bytes of sealed uploads from storage into the image service."""
