"""The real nginx and HAProxy of the distribution, with the configuration files that docs/examples shows.

Only addresses, ports and certificates are others, and what a test replaces by name to break something. Where a program
is missing, and we may, it is installed first; else the test fails and says what to install.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests import ROOT
from tests.support import process
from tests.support.images import apt_get

EXAMPLES = ROOT / "docs" / "examples"
START_DEADLINE = 20  # seconds
Running = contextlib.AbstractContextManager[str]
DAY = datetime.timedelta(days=1)


def program(name: str) -> str:
    """The path of nginx or haproxy."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    if not shutil.which(name, path=path) and os.getuid() == 0 and shutil.which("apt-get"):
        with contextlib.suppress(subprocess.CalledProcessError):  # what is missing is told below
            apt_get("install", "--yes", "--no-install-recommends", name)
    found = shutil.which(name, path=path)
    if not found:
        pytest.fail(f"{name} is missing: install it (Debian: apt install {name})")
    return found


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the tests' own; `file` is what trusts it."""

    file: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    def certify(self, directory: Path, host: str = "127.0.0.1", days: int = 2) -> Path:
        """A PEM file with the key and a certificate for `host`, which ends in so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        made = _certificate(subject, self.name, key.public_key(), days)
        made = made.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        file = directory / f"{host}-{days}.pem"
        file.write_bytes(_pem(key) + made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return file


def authority(directory: Path) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority in {directory.name}")])
    made = _certificate(name, name, key.public_key(), 2)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    file = directory / "authority.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return Authority(file, key, name)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    made = made.serial_number(x509.random_serial_number())
    return made.not_valid_before(now - 9 * DAY).not_valid_after(now + days * DAY)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@contextlib.contextmanager
def running(
    name: str, directory: Path, services: Mapping[int, int], certificate: Path, changes: Mapping[str, str] | None = None
) -> Iterator[str]:
    """nginx or haproxy with its example; the URL that it serves.

    `services` are the ports of the example and those to use instead; `changes` texts of the example and what to put in
    their place. RuntimeError with its log if it does not start.
    """
    directory.mkdir(parents=True)
    (port,) = process.free_ports(1)
    file = directory / {"nginx": "uploads.conf", "haproxy": "haproxy.cfg"}[name]
    text = (EXAMPLES / {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[name]).read_text()
    known = {f"127.0.0.1:{of}": f"127.0.0.1:{to}" for of, to in services.items()}
    if name == "nginx":
        known |= {"listen 443": f"listen 127.0.0.1:{port}", "/etc/nginx/uploads.pem": str(certificate),
                  "/etc/nginx/uploads.key": str(certificate)}  # fmt: skip
    else:
        known |= {"bind :443": f"bind 127.0.0.1:{port}", "/etc/haproxy/uploads.pem": str(certificate)}
    for old, new in {**known, **(changes or {})}.items():
        assert old in text, f"{old} is not in the example any more"
        text = text.replace(old, new)
    file.write_text(text)
    command = [program(name), "-f", str(file), "-db"]
    if name == "nginx":
        command = [program(name), "-p", str(directory), "-c", str(_around(file)), "-e", "stderr"]
    log = directory / "log"
    started = process.launch(command, log=log)
    try:
        _wait(started, port, log)
        yield f"https://127.0.0.1:{port}"
    finally:
        process.end(started, signal.SIGTERM)


def _around(file: Path) -> Path:
    """What Debian's nginx.conf does around conf.d, without its paths."""
    user = "" if os.getuid() else "user root;\n"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"    {each}_temp_path {file.parent}/{each};\n" for each in kinds)
    main = file.parent / "nginx.conf"
    main.write_text(
        f"{user}daemon off;\npid {file.parent}/pid;\nworker_processes 1;\nevents {{}}\n"
        f"http {{\n    access_log off;\n{places}    include {file};\n}}\n"
    )
    return main


def _wait(started: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while started.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the proxy did not start\n{process.tail(log)}")
