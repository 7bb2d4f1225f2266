"""A link of 400 Mbit/s between the sender and everything else, made with the kernel's means.

Senders run in a network namespace, whose 127.0.0.1 is this machine's loopback at the other end of a pair of virtual
interfaces: so they find every service at its address in the catalogue, and nothing is visible from outside.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from tests.reliability.trial import Missing

RATE = 400_000_000  # bits a second
_SHAPE = ("root", "tbf", "rate", f"{RATE}bit", "burst", "256kb", "latency", "50ms")


@contextlib.contextmanager
def slow_link() -> Iterator[Sequence[str]]:
    """Give the prefix of a command to be run on the far side. Missing if this machine can't."""
    if os.getuid():
        raise Missing("only root can make network namespaces")
    if not (shutil.which("ip") and shutil.which("tc")):
        raise Missing("there are no programs `ip` and `tc` (iproute2)")
    name = f"bench{os.getpid()}"
    near, far = f"n{os.getpid()}", f"f{os.getpid()}"
    within = ("ip", "netns", "exec", name)
    try:
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        for inside, interface, address in (((), near, "198.18.77.1/30"), (within, far, "198.18.77.2/30")):
            _run(*inside, "ip", "address", "add", address, "dev", interface)
            _run(*inside, "ip", "link", "set", interface, "up")
            allow = f"echo 1 > /proc/sys/net/ipv4/conf/{interface}/route_localnet"
            _run(*inside, "sh", "-c", allow)
            _run(*inside, "tc", "qdisc", "add", "dev", interface, *_SHAPE)
        _run(*within, "ip", "route", "add", "127.0.0.1/32", "via", "198.18.77.1", "dev", far, "src", "198.18.77.2")
        yield within
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)  # with its interfaces


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"`{' '.join(command)}` fails: {done.stderr.strip()}")
