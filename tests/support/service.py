"""Our own service as a process of its own, for tests, the demonstration and measurements."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests

from tests.support import process
from tests.support.cloud import SERVICE, Cloud

START_DEADLINE = 30  # seconds
UNLIMITED: Mapping[str, Mapping[str, object]] = {  # for who does as one client what many do
    "limits": {
        "uploads_per_project": 0,
        "share_per_project": 100,
        "creations_per_minute": 0,
        "requests_per_project": 0,
    }
}


class Service:
    """`resumable-glance serve` on a free loopback port, with its state in `directory`.

    Options are INI groups of names and values. The process ends with us.
    """

    def __init__(self, directory: Path, options: Mapping[str, Mapping[str, object]]) -> None:
        self.directory = directory
        self.module = "resumable_glance"  # what python -m is given
        self.within: Sequence[str] = ()  # a command that runs the one that comes after it
        (self.port,) = process.free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.configuration = directory / "resumable-glance.conf"
        self.log = directory / "service.log"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.configure(options)

    def configure(self, options: Mapping[str, Mapping[str, object]]) -> None:
        """Write the configuration; it counts from the next start on."""
        state = self.directory
        groups: dict[str, dict[str, object]] = {
            "DEFAULT": {"bind_port": self.port},
            "scratch": {"directory": state / "scratch", "reserved_space": 0},
            "database": {"connection": f"sqlite:///{state / 'catalog.sqlite'}"},
            "credentials": {"key_file": state / "credentials.key"},
        }
        for group, values in options.items():
            groups.setdefault(group, {}).update(values)
        if groups["DEFAULT"].get("auth_strategy") != "noauth":
            groups["DEFAULT"].setdefault("public_endpoint", self.url)
        lines = []
        for group, values in groups.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in values.items()), ""]
        self.configuration.write_text("\n".join(lines))

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the service does not run")
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it answers. RuntimeError with its log if it does not."""
        command = [sys.executable, "-m", self.module, "serve", "--config-file", str(self.configuration)]
        command = [*self.within, *command]
        self._process = process.launch(command, log=self.log)
        deadline = time.monotonic() + START_DEADLINE
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(self.url, timeout=5)
                return
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the service did not start\n{process.tail(self.log)}")

    def stop(self) -> int:
        """End it as an operator does; its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def memory(self) -> int:
        """Its resident memory right now, in bytes."""
        return self._status("VmRSS")

    def peak_memory(self) -> int:
        """The most resident memory that it ever had, in bytes."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))

    def _end(self, how: signal.Signals) -> int:
        running, self._process = self._process, None
        return 0 if running is None else process.end(running, how, patience=60)


def development(directory: Path, groups: Mapping[str, Mapping[str, object]] = {}, /, **options: object) -> Service:
    """Without OpenStack: anyone may upload, images land in `directory`/images. `options` are those of DEFAULT."""
    return Service(
        directory,
        {
            "DEFAULT": {
                "auth_strategy": "noauth",
                "image_service": "directory",
                "image_directory": directory / "images",
                **options,
            },
            **groups,
        },
    )


def beside(
    cloud: Cloud, directory: Path, groups: Mapping[str, Mapping[str, object]] = {}, /, **options: object
) -> Service:
    """In front of a cloud's Glance. `options` are those of DEFAULT."""
    return Service(
        directory,
        {
            "DEFAULT": options,
            "keystone_authtoken": {
                "auth_type": "password",
                "auth_url": cloud.auth_url,
                "username": SERVICE.name,
                "password": SERVICE.password,
                "project_name": SERVICE.project,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "glance": {"service_type": "image"},
            **groups,
        },
    )
