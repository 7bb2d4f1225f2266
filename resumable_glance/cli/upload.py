"""`resumable-glance upload`: a file into an image, through whatever happens on the way."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from resumable_glance.client import Failure, cloud, connection
from resumable_glance.client.connection import SERVICE_TYPE, URL_VARIABLE
from resumable_glance.client.imagefile import ImageFile
from resumable_glance.client.patience import Patience
from resumable_glance.client.progress import Bar, Lines, Progress, Sentences
from resumable_glance.client.upload import Proof, Uploader, Wish

DEFAULT_CHUNK = 64 * 1024 * 1024  # bytes
LEAST_CHUNK = 64 * 1024  # bytes; each chunk costs two flushes of the service's disk
MOST_PARALLEL = 32
INTERRUPTED = 130  # exit status, as shells have it for SIGINT
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_IMAGE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EPILOG = """\
Ctrl-C pauses. The same command goes on: after Ctrl-C, after a reboot, after the network or the service was away.
A file that was changed meanwhile is uploaded anew. Without --give-up-after it waits for the service for ever.
Long runs of zeros are not sent, but declared.

The last line on stdout is the proof: the size and the digests that Glance shows, which are those of the file.
The exit status is 0 if the image is proven, 1 if not, 2 for a wrong command line and 130 after Ctrl-C.

examples:
  resumable-glance upload disk.qcow2
  resumable-glance upload ubuntu.raw --name ubuntu-24.04 --visibility shared --property os_distro=ubuntu
  resumable-glance upload huge.raw --digest sha256 --chunk-size 256M --parallel 8 --os-cloud production
  resumable-glance upload disk.qcow2 --store fast --store archive        # staged, then imported into both
  resumable-glance upload disk.raw --service-url http://127.0.0.1:8970   # a service that runs with --dev
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "upload",
        help="send an image file, or go on sending it",
        description="Send an image file, or go on where an earlier run was broken off, until Glance has it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", type=Path, metavar="FILE", help="the image")
    _add_image_options(command)
    transfer = command.add_argument_group("transfer")
    transfer.add_argument("--chunk-size", type=size, default=DEFAULT_CHUNK, metavar="SIZE",
        help="largest chunk, such as 64M (the default); smaller ones are used on a bad link")  # fmt: skip
    transfer.add_argument("--parallel", type=_parallel, default=3, metavar="N", help="chunks at once (default: 3)")
    transfer.add_argument("--digest", choices=["md5", "sha256", "sha512"],
        help="compute the digest of the file before, and declare it: any other content is refused")  # fmt: skip
    transfer.add_argument("--no-wait", action="store_true",
        help="end when the service has all bytes; the same command later waits and verifies")  # fmt: skip
    transfer.add_argument("--give-up-after", type=_seconds, metavar="SECONDS",
        help="give up when nothing has worked for so long (default: never)")  # fmt: skip
    transfer.add_argument("--no-progress", action="store_true", help="sentences only")
    add_service_options(command)
    command.set_defaults(func=run, usage=command.error)


def add_service_options(command: argparse.ArgumentParser) -> None:
    """Which service, and as whom."""
    command.add_argument(
        "--service-url", metavar="URL",
        help=f"the service (default: {URL_VARIABLE}, or what the catalogue has as {SERVICE_TYPE}; without OpenStack "
        f"credentials {connection.DEVELOPMENT_URL})",
    )  # fmt: skip
    cloud.add_options(command)


def run(arguments: argparse.Namespace) -> int:
    """Upload; the exit status."""
    _check(arguments)
    progress = _display(arguments.no_progress)
    try:
        return _upload(arguments, progress)
    except Failure as failure:
        progress.close()
        print(f"resumable-glance: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress.close()
        print("resumable-glance: paused; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    finally:
        progress.close()


def size(text: str) -> int:
    """A number of bytes: 1048576, 64M, 1GiB. Raises argparse.ArgumentTypeError."""
    match = re.fullmatch(r"([0-9]{1,15})([KMG]?)(?:i?B)?", text, re.ASCII | re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write bytes, or a number with K, M or G")
    found = int(match[1]) * _UNITS[match[2].upper()]
    if found < LEAST_CHUNK:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 64K")
    return found


def request(arguments: argparse.Namespace, file: ImageFile) -> dict[str, object]:
    """What the service is asked for, without size and digests. Failure if the disk format is not known."""
    asked = _way(arguments)
    if arguments.image_id is not None:
        return {**asked, "image_id": arguments.image_id}
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
    return {**asked, "image": {name: value for name, value in image.items() if value is not None}}


def _way(arguments: argparse.Namespace) -> dict[str, object]:
    """Which stores the image goes to, and how."""
    stores = list(dict.fromkeys(arguments.store))
    way: dict[str, object] = {"all_stores": True} if arguments.all_stores else {}
    if stores:
        way |= {"store": stores[0]} if len(stores) == 1 else {"stores": stores}
    return way if arguments.method is None else {**way, "method": arguments.method}


def _upload(arguments: argparse.Namespace, progress: Progress) -> int:
    with contextlib.closing(ImageFile(arguments.file)) as file:
        wish = Wish(
            request=request(arguments, file),
            chunk_size=arguments.chunk_size,
            parallel=arguments.parallel,
            digest=arguments.digest,
            wait=not arguments.no_wait,
            give_up_after=arguments.give_up_after,
        )
        with contextlib.closing(cloud.connect(arguments, arguments.parallel)) as user:
            patience = Patience(progress.say, arguments.give_up_after)
            service = connection.find(user, arguments.service_url, patience)
            result = Uploader(file, service, wish, progress).run()
    progress.close()
    if isinstance(result, Proof):
        print(f"verified: image={result.image_id} size={result.size} md5={result.md5} sha512={result.sha512}")
    else:
        print(f"{result.state}: image={result.image_id} size={result.size} upload={result.id}")
    return 0


def _display(no_progress: bool) -> Progress:
    if no_progress:
        return Sentences()
    return Bar() if sys.stderr.isatty() else Lines()


def _add_image_options(command: argparse.ArgumentParser) -> None:
    image = command.add_argument_group("image")
    image.add_argument("--name", help="its name (default: the file's)")
    image.add_argument(
        "--disk-format",
        metavar="FORMAT",
        help="raw, qcow2, iso ..., or auto for what the service finds (default: as the file tells)",
    )
    image.add_argument("--container-format", metavar="FORMAT", help="default: bare")
    image.add_argument("--visibility", choices=["private", "shared", "community", "public"])
    image.add_argument("--min-disk", type=_count, metavar="GIB", help="smallest disk that it can start from")
    image.add_argument("--min-ram", type=_count, metavar="MIB", help="least memory that it can run in")
    image.add_argument("--protected", action="store_true", help="it can't be deleted until this is taken away")
    image.add_argument("--tag", action="append", default=[], metavar="TAG", help="may be given several times")
    image.add_argument("--property", action="append", default=[], type=_property, metavar="KEY=VALUE",
        help="a further property of the image; may be given several times")  # fmt: skip
    image.add_argument("--store", action="append", default=[],
        help="the Glance store that it goes to; may be given several times (default: Glance's own)")  # fmt: skip
    image.add_argument("--all-stores", action="store_true", help="into all stores that Glance has")
    image.add_argument("--method", choices=["upload", "import"],
        help="how Glance gets it: plainly into one store (upload), or staged, and imported into all that are named or "
        "none, through Glance's import plugins (default: upload; for more than one store import)")  # fmt: skip
    image.add_argument("--image-id", type=_image_id, metavar="ID", help="fill this queued image instead of a new one")


def _check(arguments: argparse.Namespace) -> None:
    """With --image-id the image is described already; one of several ways is taken."""
    if arguments.all_stores and arguments.store:
        arguments.usage("--all-stores and --store exclude each other")
    if arguments.method == "upload" and (arguments.all_stores or len(set(arguments.store)) > 1):
        arguments.usage("--method upload fills one store; several take --method import")
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
        arguments.usage(f"--image-id names an image that is described already, so that {given[0]} can't be given")


def _property(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _image_id(text: str) -> str:
    if not _IMAGE_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of an image")
    return text


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _parallel(text: str) -> int:
    if not 1 <= _count(text) <= MOST_PARALLEL:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_PARALLEL}")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return float(text)
