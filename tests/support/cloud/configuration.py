"""The configuration files of Keystone and Glance: everything that lies in a state directory, and where."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.cloud.users import GLANCE

STORES = ("fast", "archive")
REGION = "RegionOne"

KEYSTONE = """\
[database]
connection = {database}
sqlite_synchronous = false

[identity]
# The least that bcrypt allows: tests hash often and have no secrets.
password_hash_rounds = 4

[token]
expiration = {token_lifetime}
allow_expired_window = {allow_expired_window}

[fernet_tokens]
key_repository = {directory}/fernet-keys

[credential]
key_repository = {directory}/credential-keys
"""

GLANCE_API = """\
[DEFAULT]
enabled_backends = fast:file, archive:file
enabled_import_methods = [glance-direct,web-download,copy-image]
worker_self_reference_url = {image_url}
{image_size_cap}
{limits}

[database]
connection = {database}
sqlite_synchronous = false

[paste_deploy]
flavor = keystone
config_file = {directory}/glance-api-paste.ini

[keystone_authtoken]
www_authenticate_uri = {auth_url}
auth_url = {auth_url}
auth_type = password
username = {user.name}
password = {user.password}
project_name = {user.project}
user_domain_name = Default
project_domain_name = Default
service_token_roles = service
service_token_roles_required = true
token_cache_time = {token_cache_time}

[glance_store]
default_backend = fast

[fast]
filesystem_store_datadir = {directory}/stores/fast

[archive]
filesystem_store_datadir = {directory}/stores/archive

[os_glance_staging_store]
filesystem_store_datadir = {directory}/stores/staging

[os_glance_tasks_store]
filesystem_store_datadir = {directory}/stores/tasks

{cors}

[import_filtering_opts]
# The default ports are 80 and 443 only; tests serve images on any port of this machine.
allowed_hosts = [127.0.0.1,localhost]
allowed_ports = []
"""

CORS = """\
[cors]
allowed_origin = {origin}
allow_credentials = true
"""

LIMITS = """\
use_keystone_limits = true

[oslo_limit]
auth_url = {auth_url}
auth_type = password
username = {user.name}
password = {user.password}
user_domain_name = Default
system_scope = all
endpoint_service_type = image
endpoint_region_name = RegionOne
endpoint_interface = public
"""


@dataclass(frozen=True)
class Options:
    """What a test can choose: times in seconds, sizes in bytes, limits as Keystone has them."""

    token_lifetime: int = 3600
    allow_expired_window: int = 172_800
    image_size_cap: int | None = None
    limits: Mapping[str, int] | None = None
    allowed_origin: str = ""
    token_cache_time: int = -1  # Glance's. With its default, 300, a revoked token is good for another five minutes.


def auth_url(port: int) -> str:
    """Return Keystone's address as the catalogue has it."""
    return f"http://127.0.0.1:{port}/v3"


def image_url(port: int) -> str:
    """Return Glance's address as the catalogue has it (without a version)."""
    return f"http://127.0.0.1:{port}"


def database(directory: Path, service: str) -> Path:
    """Return the SQLite file of `service` ("keystone" or "glance")."""
    return directory / f"{service}.sqlite"


def write(directory: Path, environment: Path, keystone_port: int, glance_port: int, options: Options) -> None:
    """Write keystone.conf, glance-api.conf and glance-api-paste.ini into the state directory."""
    for store in (*STORES, "staging", "tasks"):
        (directory / "stores" / store).mkdir(parents=True, exist_ok=True)
    keystone = KEYSTONE.format(
        directory=directory,
        database=_connection(directory, "keystone"),
        token_lifetime=options.token_lifetime,
        allow_expired_window=options.allow_expired_window,
    )
    glance = GLANCE_API.format(
        directory=directory,
        database=_connection(directory, "glance"),
        auth_url=auth_url(keystone_port),
        token_cache_time=options.token_cache_time,
        image_url=image_url(glance_port),
        user=GLANCE,
        limits="" if options.limits is None else LIMITS.format(auth_url=auth_url(keystone_port), user=GLANCE),
        cors=CORS.format(origin=options.allowed_origin) if options.allowed_origin else "",
        image_size_cap=f"image_size_cap = {options.image_size_cap}" if options.image_size_cap else "",
    )
    (directory / "keystone.conf").write_text(keystone)
    (directory / "glance-api.conf").write_text(glance)
    # The filter for CORS reads its own configuration, from /etc/glance unless it is told where.
    paste = (environment / "etc" / "glance" / "glance-api-paste.ini").read_text()
    cors = "[filter:cors]\n"
    paste = paste.replace(cors, f"{cors}oslo_config_file = {directory}/glance-api.conf\n")
    (directory / "glance-api-paste.ini").write_text(paste)


def _connection(directory: Path, service: str) -> str:
    # Writers wait for each other this many seconds before "database is locked".
    return f"sqlite:///{database(directory, service)}?timeout=60"
