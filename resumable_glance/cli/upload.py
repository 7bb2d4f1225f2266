"""`resumable-glance upload`: an image file into Glance, resumed after interruptions."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from resumable_glance.cli.service_options import add_service_options, connect_as, matching
from resumable_glance.client import ClientError, ImageFile, Uploader, UploadOptions, VerifiedImage, find_service
from resumable_glance.client.api import UploadView
from resumable_glance.client.plan import DEFAULT_CHUNK
from resumable_glance.client.progress import Bar, Lines, Messages, Progress
from resumable_glance.client.retry import RetryPolicy

LEAST_CHUNK = 64 * 1024  # bytes; each chunk costs the service two flushes to disk
MOST_PARALLEL = 32
INTERRUPTED = 130  # the exit status of shells after SIGINT
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_count = matching("[0-9]{1,9}", "a whole number", int)
_seconds = matching(r"[0-9]{1,9}(\.[0-9]{1,3})?", "a number of seconds", float)
_image_id = matching("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "an image ID", str)
DESCRIPTION = """\
Upload an image file into Glance, or resume its upload.

Ctrl-C pauses. The same command resumes: after Ctrl-C, after a reboot, after an outage of the network or the service.
If the file has changed in between, a new upload begins. Long runs of zeros are declared instead of sent.
"""
EPILOG = """\
The last line on stdout describes the verified image: its ID, and its size and digests, which are those of the file.
Exit status: 0 for a verified image, 1 for a failure, 2 for a wrong command line, 130 after Ctrl-C.

examples:
  resumable-glance upload disk.qcow2
  resumable-glance upload ubuntu.raw --name ubuntu-24.04 --visibility shared --property os_distro=ubuntu
  resumable-glance upload huge.raw --digest sha256 --chunk-size 256M --parallel 8 --os-cloud production
  resumable-glance upload disk.qcow2 --store fast --store archive        # staged, then imported into both stores
  resumable-glance upload disk.raw --service-url http://127.0.0.1:8970   # a service started with serve --dev
"""


def add_options(command: argparse.ArgumentParser) -> None:
    command.usage = "%(prog)s [OPTIONS] FILE"
    command.add_argument("file", type=Path, metavar="FILE", help="the image file")
    _add_image_options(command)
    transfer = command.add_argument_group("transfer")
    transfer.add_argument("--chunk-size", type=parse_size, default=DEFAULT_CHUNK, metavar="SIZE",
        help="largest chunk, in bytes or with K, M or G (default: 64M); on a bad link chunks are smaller")  # fmt: skip
    transfer.add_argument("--parallel", type=_parallel, default=3, metavar="N",
        help=f"number of chunks in flight, 1 to {MOST_PARALLEL} (default: 3)")  # fmt: skip
    transfer.add_argument("--digest", choices=["md5", "sha256", "sha512"],
        help="compute the digest of the file first and declare it, so that the service refuses any other content "
        "(default: none)")  # fmt: skip
    transfer.add_argument("--no-wait", action="store_true",
        help="end once the service has all bytes; the same command later waits for the image and verifies "
        "it")  # fmt: skip
    transfer.add_argument("--give-up-after", type=_seconds, metavar="SECONDS",
        help="fail after this many seconds without any success (default: never)")  # fmt: skip
    transfer.add_argument("--no-progress", action="store_true", help="show messages only")
    add_service_options(command)
    command.set_defaults(usage=command.error)


def run(arguments: argparse.Namespace) -> int:
    """Upload, and return the exit status."""
    _check(arguments)
    try:
        with contextlib.closing(_display(arguments.no_progress)) as progress:
            result = _upload(arguments, progress)
    except ClientError as problem:
        print(f"resumable-glance: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("resumable-glance: paused; the same command resumes", file=sys.stderr)
        return INTERRUPTED
    if isinstance(result, VerifiedImage):
        print(f"verified: image={result.image_id} size={result.size} md5={result.md5} sha512={result.sha512}")
    else:
        print(f"{result.state}: image={result.image_id} size={result.size} upload={result.id}")
    return 0


def parse_size(text: str) -> int:
    """Return bytes: 1048576, 64M, 1GiB. Raise argparse.ArgumentTypeError."""
    match = re.fullmatch(r"([0-9]{1,15})([KMG]?)(?:i?B)?", text, re.ASCII | re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write bytes, or a number with K, M or G")
    found = int(match[1]) * _UNITS[match[2].upper()]
    if found < LEAST_CHUNK:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 64K")
    return found


def creation_request(arguments: argparse.Namespace, file: ImageFile) -> dict[str, object]:
    """Return the creation request without size and digests. Raise ClientError if the disk format is not known."""
    stores = _stores(arguments)
    if arguments.image_id is not None:
        return {**stores, "image_id": arguments.image_id}
    image: dict[str, object] = {
        "name": file.path.name if arguments.name is None else arguments.name,
        "disk_format": arguments.disk_format or file.disk_format(),
        "container_format": arguments.container_format or "bare",
        "visibility": arguments.visibility,
        "min_disk": arguments.min_disk,
        "min_ram": arguments.min_ram,
        "protected": arguments.protected or None,
        "tags": sorted(set(arguments.tag)) or None,
        "properties": dict(arguments.property) or None,
    }
    return {**stores, "image": {name: value for name, value in image.items() if value is not None}}


def _stores(arguments: argparse.Namespace) -> dict[str, object]:
    names = list(dict.fromkeys(arguments.store))
    stores: dict[str, object] = {"all_stores": True} if arguments.all_stores else {}
    if names:
        stores |= {"store": names[0]} if len(names) == 1 else {"stores": names}
    return stores if arguments.method is None else {**stores, "method": arguments.method}


def _upload(arguments: argparse.Namespace, progress: Progress) -> UploadView | VerifiedImage:
    with ImageFile(arguments.file) as file:
        options = UploadOptions(
            request=creation_request(arguments, file),
            chunk_size=arguments.chunk_size,
            parallel=arguments.parallel,
            digest=arguments.digest,
            wait=not arguments.no_wait,
            give_up_after=arguments.give_up_after,
        )
        with connect_as(arguments, arguments.parallel) as cloud:
            api = find_service(cloud, arguments.service_url, RetryPolicy(progress.say, arguments.give_up_after))
            return Uploader(api, file, options, progress).run()


def _display(no_progress: bool) -> Progress:
    if no_progress:
        return Messages()
    return Bar() if sys.stderr.isatty() else Lines()


def _add_image_options(command: argparse.ArgumentParser) -> None:
    image = command.add_argument_group("image")
    image.add_argument("--name", help="name of the image (default: that of the file)")
    image.add_argument(
        "--disk-format",
        metavar="FORMAT",
        help="raw, qcow2, iso ..., or auto to let the service detect it (default: by signature and file extension)",
    )
    image.add_argument("--container-format", metavar="FORMAT", help="default: bare")
    image.add_argument("--visibility", choices=["private", "shared", "community", "public"],
        help="default: Glance's own, usually shared")  # fmt: skip
    image.add_argument("--min-disk", type=_count, metavar="GIB", help="smallest disk that can boot the image")
    image.add_argument("--min-ram", type=_count, metavar="MIB", help="least memory that can boot the image")
    image.add_argument("--protected", action="store_true", help="protect the image from deletion")
    image.add_argument("--tag", action="append", default=[], metavar="TAG", help="a tag; may be repeated")
    image.add_argument("--property", action="append", default=[], type=_property, metavar="KEY=VALUE",
        help="a further property of the image; may be repeated")  # fmt: skip
    image.add_argument("--store", action="append", default=[],
        help="a Glance store for the image; may be repeated (default: Glance's default store)")  # fmt: skip
    image.add_argument("--all-stores", action="store_true", help="all stores of Glance")
    image.add_argument("--method", choices=["upload", "import"],
        help="upload: plain upload into one store; import: staged, then imported through Glance's import plugins "
        "into one or more stores (default: upload, or import for more than one store)")  # fmt: skip
    image.add_argument("--image-id", type=_image_id, metavar="ID",
        help="fill this queued image instead of creating one")  # fmt: skip


def _check(arguments: argparse.Namespace) -> None:
    """End with a usage error for options that exclude each other."""
    if arguments.all_stores and arguments.store:
        arguments.usage("--all-stores and --store exclude each other")
    if arguments.method == "upload" and (arguments.all_stores or len(set(arguments.store)) > 1):
        arguments.usage("--method upload fills one store; several stores need --method import")
    described: Mapping[str, object] = {
        "--name": arguments.name is not None,
        "--disk-format": arguments.disk_format,
        "--container-format": arguments.container_format,
        "--visibility": arguments.visibility,
        "--min-disk": arguments.min_disk is not None,
        "--min-ram": arguments.min_ram is not None,
        "--protected": arguments.protected,
        "--tag": arguments.tag,
        "--property": arguments.property,
    }
    given = [option for option, value in described.items() if value]
    if arguments.image_id is not None and given:
        arguments.usage(f"--image-id and {given[0]} exclude each other: the queued image has its properties already")


def _property(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _parallel(text: str) -> int:
    if not 1 <= _count(text) <= MOST_PARALLEL:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_PARALLEL}")
    return int(text)
