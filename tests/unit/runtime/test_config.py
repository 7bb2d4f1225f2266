"""Every option explains itself, and a bad value is refused at the start with its option's name."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oslo_config import cfg

from resumable_glance.cli import main
from resumable_glance.runtime.config import GROUPS, BadConfiguration, Settings, is_loopback, load
from resumable_glance.runtime.option_types import Origin
from resumable_glance.runtime.options import list_opts

many = settings(deadline=None, max_examples=60)
OWN = [pytest.param(option, id=f"{group}.{option.name}") for group, options in GROUPS.items() for option in options]
NAMES = {
    option.dest if group == "DEFAULT" else f"{group}.{option.dest}"
    for group, options in GROUPS.items()
    for option in options
}


PUBLIC = "https://uploads.example.org"


def settings_of(**overrides: object) -> Settings:
    given = {"public_endpoint": PUBLIC, **overrides}
    return load([], {name.replace("__", "."): value for name, value in given.items()})[0]


def from_file(path: Path, text: str) -> Settings:
    path.write_text(text)
    return load([str(path)])[0]


@pytest.mark.parametrize("option", OWN)
def test_each_option_has_a_help_text(option: cfg.Opt) -> None:
    assert option.help
    assert len(option.help) > 20
    assert option.help.rstrip().endswith(".")


@pytest.mark.parametrize("option", [each for each in OWN if isinstance(each.values[0], cfg.IntOpt)])
def test_every_number_has_a_smallest_value_and_its_unit(option: cfg.Opt) -> None:
    assert getattr(option.type, "min", None) is not None
    assert option.help is not None
    assert any(unit in option.help for unit in ("bytes", "Bytes", "Seconds", "Number of", "percent"))


def test_the_defaults_are_good_values() -> None:
    found = settings_of()
    assert (found.service.bind_host, found.service.bind_port) == ("127.0.0.1", 8970)
    assert (found.service.auth_strategy, found.service.image_service) == ("keystone", "glance")
    assert found.service.trusted_proxies == found.cors.allowed_origin == ()
    assert found.service.max_upload_size == 1024**4
    assert found.scratch.reserved_space == 1024**3


def test_settings_do_not_change_any_more() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings_of().service.bind_port = 1  # type: ignore[misc]


def test_a_file_is_read(tmp_path: Path) -> None:
    found = from_file(
        tmp_path / "x.conf",
        """
        [DEFAULT]
        instance = node7
        public_endpoint = https://upload.example.org/
        trusted_proxies = 10.0.0.1, 192.168.0.0/16, ::1
        [scratch]
        directory = /srv/scratch
        reserved_space = 0
        commit_size = 1048576
        [cors]
        allowed_origin = https://dashboard.example.org, http://localhost:8080
        [keystone_authtoken]
        token_cache_time = 0
        """.replace("\n        ", "\n"),
    )
    assert found.service.instance == "node7"
    assert found.service.public_endpoint == "https://upload.example.org"
    assert found.service.trusted_proxies == ("10.0.0.1", "192.168.0.0/16", "::1")
    assert found.scratch.directory == Path("/srv/scratch")
    assert (found.scratch.reserved_space, found.scratch.commit_size) == (0, 1048576)
    assert found.cors.allowed_origin == ("https://dashboard.example.org", "http://localhost:8080")
    assert found.keystone_authtoken.token_cache_time == 0


def test_overrides_win_over_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_text("[DEFAULT]\ninstance = file\n[scratch]\nreserved_space = 5\n")
    found, conf = load([str(path)], {"public_endpoint": PUBLIC, "instance": "given", "scratch.reserved_space": 7})
    assert (found.service.instance, found.scratch.reserved_space) == ("given", 7)
    assert conf.instance == "given"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration) as bad:
        load([str(tmp_path / "missing.conf")])
    assert "missing.conf" in str(bad.value)


def test_a_file_that_cannot_be_parsed_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration):
        from_file(tmp_path / "x.conf", "this is no configuration\n")


BAD = [
    ("bind_port", "65536"),
    ("bind_port", "http"),
    ("public_endpoint", "ftp://example.org"),
    ("public_endpoint", "example.org"),
    ("trusted_proxies", "10.0.0.1/8"),
    ("trusted_proxies", "10.0.0"),
    ("trusted_proxies", "10.0.0.1, proxy.example.org"),
    ("trusted_proxies", "*"),
    ("instance", ""),
    ("instance", "Node1"),
    ("instance", "node-1"),
    ("instance", "n" * 17),
    ("instance", "../x"),
    ("instance", "ä"),
    ("instance", "٣"),
    ("auth_strategy", "none"),
    ("image_service", "swift"),
    ("max_upload_size", "0"),
    ("max_upload_size", "-1"),
    ("max_upload_size", "1T"),
    ("max_chunk_size", "1048575"),
    ("upload_expiry", "-1"),
    ("record_retention", "-1"),
    ("idle_timeout", "0"),
    ("graceful_timeout", "0"),
    ("handoff.workers", "0"),
    ("handoff.workers", "65"),
    ("scratch.reserved_space", "-1"),
    ("scratch.commit_size", "-1"),
    ("database.connection", "postgresql://glance:secret@db.example.org/catalog"),
    ("database.connection", "mysql+pymysql://glance:secret@db.example.org/catalog"),
    ("database.connection", "sqlite://"),  # in memory: nothing would survive a restart
    ("database.connection", "sqlite:///:memory:"),
    ("database.connection", "/var/lib/resumable-glance/catalog.sqlite"),
    ("cors.allowed_origin", "https://dashboard.example.org/"),
    ("cors.allowed_origin", "https://dashboard.example.org/horizon"),
    ("cors.allowed_origin", "https://Dashboard.example.org"),
    ("cors.allowed_origin", "HTTPS://dashboard.example.org"),
    ("cors.allowed_origin", "https://dashboard.example.org?"),
    ("cors.allowed_origin", "https://dashboard.example.org#x"),
    ("cors.allowed_origin", "https://user@dashboard.example.org"),
    ("cors.allowed_origin", "https://"),
    ("cors.allowed_origin", "dashboard.example.org"),
    ("cors.allowed_origin", "ftp://dashboard.example.org"),
    ("cors.allowed_origin", "*"),
    ("cors.allowed_origin", "null"),
    ("cors.allowed_origin", "https://good.example.org, https://bad.example.org/"),
    ("cors.allowed_origin", "https://dashboard.example.org:"),
    ("cors.allowed_origin", "https://dashboard.example.org:https"),
    ("cors.allowed_origin", "https://dashboard.example.org:99999"),
    ("cors.allowed_origin", "https://*.example.org"),
    ("cors.max_age", "-1"),
    ("keystone_authtoken.token_cache_time", "-1"),
    ("keystone_authtoken.token_cache_time", "3601"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_in_a_file_is_refused_with_the_options_name(name: str, value: str, tmp_path: Path) -> None:
    group, _, option = name.rpartition(".")
    with pytest.raises(BadConfiguration) as bad:
        from_file(tmp_path / "x.conf", f"[{group or 'DEFAULT'}]\n{option} = {value}\n")
    assert option in str(bad.value)


@pytest.mark.parametrize(("name", "value"), [each for each in BAD if each[1]])
def test_a_bad_override_is_refused_with_the_options_name(name: str, value: str) -> None:
    assert name in NAMES
    with pytest.raises(BadConfiguration) as bad:
        load([], {name: value})
    assert name.rpartition(".")[2] in str(bad.value)


@pytest.mark.parametrize("name", ["max_uplaod_size", "scratch.max_upload_size", "nowhere.reserved_space"])
def test_an_option_that_does_not_exist_cannot_be_given(name: str) -> None:
    with pytest.raises(BadConfiguration) as bad:
        load([], {name: "1"})
    assert name.rpartition(".")[2] in str(bad.value) or name.partition(".")[0] in str(bad.value)


@pytest.mark.parametrize(
    "origin",
    ["https://dashboard.example.org", "http://localhost:8080", "https://192.0.2.7", "http://[2001:db8::1]:8080"],
)
def test_an_origin_is_written_as_browsers_send_it(origin: str) -> None:
    assert settings_of(cors__allowed_origin=origin).cors.allowed_origin == (origin,)


@pytest.mark.parametrize("origin", ["https://dashboard.example.org:443", "http://dashboard.example.org:80"])
def test_an_origin_with_a_default_port_is_refused(origin: str) -> None:
    with pytest.raises(BadConfiguration):
        settings_of(cors__allowed_origin=origin)


@many
@given(st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"]), min_size=1))
@example("https://[")
@example("https://[::1")
@example("http://a\tb")
def test_any_origin_is_taken_exactly_or_refused(text: str) -> None:
    try:
        found = Origin()(text)
    except ValueError:
        return
    assert found == text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org", "", "localhost.example.org"])
def test_noauth_listens_only_on_loopback(host: str) -> None:
    with pytest.raises(BadConfiguration) as bad:
        settings_of(auth_strategy="noauth", image_service="directory", bind_host=host)
    assert "bind_host" in str(bad.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_noauth_may_listen_on_loopback(host: str) -> None:
    assert is_loopback(host)
    assert settings_of(auth_strategy="noauth", image_service="directory", bind_host=host).service.bind_host == host


def test_noauth_cannot_use_glance() -> None:
    with pytest.raises(BadConfiguration) as bad:
        settings_of(auth_strategy="noauth", image_service="glance")
    assert "image_service" in str(bad.value)


@pytest.mark.parametrize("image_service", ["glance", "directory"])
def test_keystone_needs_a_public_endpoint(image_service: str) -> None:
    with pytest.raises(BadConfiguration) as bad:
        load([], {"image_service": image_service})
    assert "public_endpoint" in str(bad.value)
    assert settings_of(image_service=image_service).service.public_endpoint == PUBLIC


def test_noauth_needs_no_public_endpoint() -> None:
    found = settings_of(auth_strategy="noauth", image_service="directory", public_endpoint=None)
    assert found.service.public_endpoint is None


def test_keystone_may_listen_on_all_addresses() -> None:
    assert settings_of(bind_host="0.0.0.0").service.bind_host == "0.0.0.0"
    assert settings_of(bind_host="0.0.0.0", image_service="directory").service.image_service == "directory"


def test_check_refuses_another_database_and_hides_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.conf"
    path.write_text("[database]\nconnection = postgresql://glance:secret@db.example.org/catalog\n")
    assert main(["check", "--config-file", str(path)]) == 1
    shown = capsys.readouterr()
    assert shown.out.split()[:2] == ["FAIL", "configuration"]
    assert "secret" not in shown.out + shown.err


def test_the_generated_sample_has_every_option() -> None:
    listed = {
        option.dest if group == "DEFAULT" else f"{group}.{option.dest}"
        for group, options in list_opts()
        for option in options
    }
    assert listed >= NAMES
    assert {"glance.region_name", "keystone_authtoken.auth_url", "keystone_authtoken.password"} <= listed


def test_no_option_is_listed_twice() -> None:
    listed = [f"{group}.{option.dest}" for group, options in list_opts() for option in options]
    assert sorted(set(listed)) == sorted(listed)


@pytest.mark.parametrize("name", ["connection"])
def test_options_with_passwords_are_not_logged(name: str) -> None:
    assert [each.secret for each in GROUPS["database"] if each.name == name] == [True]
