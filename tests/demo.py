"""A demonstration: an image reaches a real Glance through broken connections and a crash."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from tests.support import images
from tests.support.chaos import BadLink
from tests.support.cloud import DEMO, Cloud, start
from tests.support.service import Service, beside

MIB = 1024 * 1024
SIZE = 320 * MIB
CUTS = 7
RATE = 60 * MIB  # bytes a second and connection: slow enough to watch
CHUNK = "16M"


def main() -> int:
    parser = argparse.ArgumentParser("python3 noxfile.py -s demo --", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end afterwards instead of leaving everything up")
    parser.add_argument("--file", type=Path, help=f"upload this file (default: {SIZE // MIB} MiB made for it)")
    parser.add_argument("--disk-format", default="raw", help="the file's format (default: %(default)s)")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="resumable-glance-demo-"))
    try:
        say("Starting a real Keystone and a real Glance (the first time, they are installed) ...")
        with start() as cloud, beside(cloud, directory, {"page": {"sign_in": True}}) as service:
            say(f"Keystone {cloud.auth_url}   Glance {cloud.image_url}   resumable-glance {service.url}")
            file = arguments.file or images.raw_disk(SIZE)
            if not upload_over_a_bad_link(cloud, service, file, arguments.disk_format):
                return 1
            if not arguments.once:
                stay(cloud, service)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def say(text: str) -> None:
    print(f"\n--- {text}", file=sys.stderr, flush=True)


def upload_over_a_bad_link(cloud: Cloud, service: Service, file: Path, disk_format: str) -> bool:
    """Upload over a link that breaks; return whether everything has happened that is to be shown."""
    size = file.stat().st_size
    patience = (size // (4 * CUTS), size // (2 * CUTS))
    with (
        BadLink(service.port, cuts=CUTS, patience=patience, rate=RATE, seed=2) as link,
        crash_at_cut(3, link, service) as crashes,
    ):
        say(f"Uploading {file.name}, {size / MIB:.0f} MiB, over a link that breaks {CUTS} times, with one kill -9")
        uploaded = subprocess.run(
            [sys.executable, "-m", "resumable_glance", "upload", str(file), "--name", "demo", "--service-url", link.url,
             "--disk-format", disk_format, "--chunk-size", CHUNK],
            env={**os.environ, **cloud.environment(DEMO), "XDG_STATE_HOME": str(service.directory / "client")},
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    say(f"{link.cuts_made} connections were cut, the service was killed and started again {len(crashes)} time(s)")
    if uploaded.returncode != 0 or link.cuts_made < 5 or len(crashes) != 1:
        say(f"FAILED: the upload ended with exit status {uploaded.returncode}; the service's log is above")
        print(service.log.read_text()[-4000:], file=sys.stderr)
        return False
    return equal_in_glance(cloud, file)


@contextlib.contextmanager
def crash_at_cut(number: int, link: BadLink, service: Service) -> Iterator[list[float]]:
    """Announce each cut; SIGKILL the service at the n-th one and restart it. Give the times of the crashes."""
    reached, ended, crashes = threading.Event(), threading.Event(), list[float]()

    def cut(made: int) -> None:
        say(f"Cut no. {made}: a connection breaks in the middle of a chunk")
        if made == number:
            reached.set()

    def crash() -> None:
        reached.wait()
        if not ended.is_set():
            say("SIGKILL: the service is gone")
            service.kill()
            time.sleep(1)
            service.start()
            crashes.append(time.time())
            say("The service is back")

    link.on_cut = cut
    thread = threading.Thread(target=crash)
    thread.start()
    try:
        yield crashes
    finally:
        if not reached.is_set():
            ended.set()
            reached.set()
        thread.join()


def equal_in_glance(cloud: Cloud, file: Path) -> bool:
    """Return whether Glance's description of the image is that of the file."""
    image = next(cloud.glance(DEMO).images.list(filters={"name": "demo"}, sort_key=["created_at"], sort_dir=["desc"]))
    with file.open("rb") as content:
        md5, sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()
        while piece := content.read(MIB):
            md5.update(piece)
            sha512.update(piece)
    there = (image.status, image.size, image.checksum, image.os_hash_value)
    here = ("active", file.stat().st_size, md5.hexdigest(), sha512.hexdigest())
    if there != here:
        say(f"FAILED: Glance has {there}, the file is {here}")
        return False
    print(f"verified: image={image.id} size={image.size} md5={image.checksum} sha512={image.os_hash_value}", flush=True)
    return True


def stay(cloud: Cloud, service: Service) -> None:
    """Leave everything up until Ctrl-C, and print what to try."""
    exports = "\n".join(f"  export {name}={value}" for name, value in cloud.environment(DEMO).items())
    program = Path(sys.executable).parent / "resumable-glance"
    say("Everything stays up until you press Ctrl-C. In another terminal:")
    print(
        f"{exports}\n  export RESUMABLE_GLANCE_URL={service.url}\n\n"
        f"  with a browser: {service.url}/\n"
        f"  and this token: {cloud.token(DEMO)}\n\n"
        f"  {program} upload YOUR-IMAGE.qcow2        # press Ctrl-C in the middle, and run it again\n"
        f"  {program} uploads list\n"
        f"  {program} check --config-file {service.configuration}\n"
        f"  kill -9 {service.pid}                    # the service; this demonstration starts it again\n"
        f"  tail -f {service.log}\n"
        f"  curl {service.url}/                      # what it can do\n",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(1)
            try:
                requests.get(service.url, timeout=10)
            except requests.ConnectionError:
                service.kill()
                service.start()
                say(f"The service was gone, and is started again (process {service.pid})")


if __name__ == "__main__":
    sys.exit(main())
