"""The upload client, for the command line and for Python programs.

    from pathlib import Path
    from resumable_glance import client

    with client.connect({"cloud": "production"}) as cloud, client.ImageFile(Path("disk.qcow2")) as file:
        api = client.find_service(cloud)
        options = client.UploadOptions({"image": {"name": "disk", "disk_format": "qcow2", "container_format": "bare"}})
        image = client.Uploader(api, file, options).run()

plan          pure decisions: the next chunk, the meaning of a response, the delay before a retry
api           the requests of the service, one method each
retry         waiting through failures
cloud         credentials: clouds.yaml, OS_* variables, or none
image_file    the file: bytes, runs of zeros, digests, fingerprint
resume_state  the file that lets a later run resume an upload
sender        parallel transfer of the missing chunks
uploader      one upload from the first byte to the verified image
receipts      signatures of receipts
progress      progress for people
"""

from __future__ import annotations

from resumable_glance.client.api import ApiClient, UploadView, find_service
from resumable_glance.client.cloud import Cloud, connect
from resumable_glance.client.errors import ClientError, UploadGone
from resumable_glance.client.image_file import ImageFile
from resumable_glance.client.progress import Progress
from resumable_glance.client.uploader import Uploader, UploadOptions, VerifiedImage

__all__ = [
    "ApiClient",
    "ClientError",
    "Cloud",
    "ImageFile",
    "Progress",
    "UploadGone",
    "UploadOptions",
    "UploadView",
    "Uploader",
    "VerifiedImage",
    "connect",
    "find_service",
]
