"""The state of a new cloud: databases, keys, users. Made once; each run works on a copy."""

import hashlib
import os
import sqlite3
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from tests.support.cloud import cache, configuration, install, users
from tests.support.cloud.configuration import REGION, Options
from tests.support.cloud.server import BEGIN_IMMEDIATE, Server
from tests.support.cloud.users import ADMIN, GLANCE, User
from tests.support.process import free_ports


def state(environment: Path) -> Path:
    """Return the directory with the state of a new cloud, after making it (10 seconds) if it is not there."""
    sources = b"".join(Path(str(module.__file__)).read_bytes() for module in (configuration, users))
    key = hashlib.sha256(sources + Path(__file__).read_bytes()).hexdigest()[:12]
    place = environment.with_name(f"{environment.name}-state-{key}")
    return cache.make_once(place, lambda unfinished: _make(unfinished, environment))


def set_endpoints(directory: Path, auth_url: str, image_url: str) -> None:
    """Make the catalogue of a cloud that is not running tell these addresses."""
    with closing(sqlite3.connect(configuration.database(directory, "keystone"))) as keystone, keystone:
        keystone.executemany(
            "UPDATE endpoint SET url = ? WHERE service_id = (SELECT id FROM service WHERE type = ?)",
            [(auth_url, "identity"), (image_url, "image")],
        )


def limit(admin: Session, auth_url: str, limits: Mapping[str, int]) -> None:
    """Let each project have so much in Glance, and let Glance ask Keystone how much that is."""

    def found(kind: str, **wanted: str) -> str:
        return str(admin.get(f"{auth_url}/{kind}s", params=wanted).json()[f"{kind}s"][0]["id"])

    glance, reader = found("user", name=GLANCE.name), found("role", name="reader")
    admin.put(f"{auth_url}/system/users/{glance}/roles/{reader}")
    registered = [
        {
            "service_id": found("service", type="image"),
            "region_id": REGION,
            "resource_name": name,
            "default_limit": most,
        }
        for name, most in limits.items()
    ]
    admin.post(f"{auth_url}/registered_limits", json={"registered_limits": registered})


def keystone_server(directory: Path, environment: Path, port: int) -> Server:
    """Return the Keystone of this state directory, not started."""
    return Server(
        "keystone.wsgi.api",
        port,
        environment=environment,
        variables={"OS_KEYSTONE_CONFIG_DIR": str(directory)},
        log=directory / "keystone.log",
        probe="/v3",
        options=(BEGIN_IMMEDIATE,),
    )


def _make(directory: Path, environment: Path) -> None:
    install.progress("creating databases, keys and users (once)")
    directory.mkdir()
    keystone_port, glance_port = free_ports(2)
    configuration.write(directory, environment, keystone_port, glance_port, Options())
    auth_url = configuration.auth_url(keystone_port)
    with ThreadPoolExecutor() as both:
        made = [
            both.submit(_make_keystone, directory, environment, auth_url),
            both.submit(_make_glance, directory, environment),
        ]
    for each in made:
        each.result()
    keystone = keystone_server(directory, environment, keystone_port)
    try:
        keystone.start()
        _populate(auth_url, configuration.image_url(glance_port))
    finally:
        keystone.stop()
    for service in ("keystone", "glance"):
        with closing(sqlite3.connect(configuration.database(directory, service))) as connection:
            # Readers don't wait for writers any more. The file remembers it.
            connection.execute("PRAGMA journal_mode = WAL")
    for log in directory.glob("*.log"):
        log.unlink()


def _make_keystone(directory: Path, environment: Path, auth_url: str) -> None:
    program = environment / "bin" / "keystone-manage"
    configured = f"--config-file={directory}/keystone.conf"

    def manage(*arguments: str) -> None:
        _run(directory / "manage-keystone.log", program, configured, *arguments)

    # Who owns the keys; the commands take ids as well as names.
    owner = (f"--keystone-user={os.getuid()}", f"--keystone-group={os.getgid()}")
    manage("db_sync")
    manage("fernet_setup", *owner)
    manage("credential_setup", *owner)
    manage(
        "bootstrap",
        f"--bootstrap-password={ADMIN.password}",
        f"--bootstrap-region-id={REGION}",
        f"--bootstrap-public-url={auth_url}",
        # Glance's auth_token asks the catalogue for the internal address.
        f"--bootstrap-internal-url={auth_url}",
    )


def _make_glance(directory: Path, environment: Path) -> None:
    program = environment / "bin" / "glance-manage"
    configured = f"--config-file={directory}/glance-api.conf"

    def manage(*arguments: str) -> None:
        _run(directory / "manage-glance.log", program, configured, *arguments)

    manage("db_sync")
    # The default path is /etc/glance, where there is nothing, and the command would not tell.
    manage("db_load_metadefs", str(environment / "etc" / "glance" / "metadefs"))


def _run(log: Path, program: Path, *arguments: str) -> None:
    with log.open("ab") as output:
        code = subprocess.call(
            [program, *arguments],
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        raise RuntimeError(f"{program.name} {arguments[1]} ended with {code}\n{tail}")


def _populate(auth_url: str, image_url: str) -> None:
    auth = v3.Password(
        auth_url,
        username=ADMIN.name,
        password=ADMIN.password,
        project_name=ADMIN.project,
        user_domain_id="default",
        project_domain_id="default",
    )
    admin = Session(auth)

    def create(kind: str, **fields: str) -> str:
        answer = admin.post(f"{auth_url}/{kind}s", json={kind: fields})
        return str(answer.json()[kind]["id"])

    service_id = create("service", name="glance", type="image")
    for interface in ("public", "internal"):
        create("endpoint", service_id=service_id, interface=interface, url=image_url, region_id=REGION)
    roles = {role["name"]: role["id"] for role in admin.get(f"{auth_url}/roles").json()["roles"]}
    projects: dict[str, str] = {}
    everybody: list[User] = [users.DEMO, users.READER, users.OTHER, users.SERVICE, users.GLANCE]
    for user in everybody:
        if user.project not in projects:
            projects[user.project] = create("project", name=user.project, domain_id="default")
        user_id = create("user", name=user.name, password=user.password, domain_id="default")
        admin.put(f"{auth_url}/projects/{projects[user.project]}/users/{user_id}/roles/{roles[user.role]}")
