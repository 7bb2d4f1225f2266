"""`check --url` tells what is wrong between the service and its clients: the real nginx, with each fault in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from resumable_glance.cli import endpoint_check, main
from tests.support import process, proxies
from tests.support.service import Service, development

ORIGIN = "https://dashboard.example"
IDLE = 1  # seconds


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    options = {"trusted_proxies": "127.0.0.1", "idle_timeout": IDLE}
    cors = {"cors": {"allowed_origin": ORIGIN}}
    with development(tmp_path_factory.mktemp("service"), cors, **options) as running:
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> proxies.Authority:
    return proxies.authority(tmp_path_factory.mktemp("authority"))


def proxied(
    name: str, directory: Path, service: Service, certificate: Path, changes: dict[str, str] | None = None
) -> proxies.Running:
    ports = {8970: service.port, 8971: service.port}
    return proxies.running(name, directory / "run", ports, certificate, changes)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit status, and of each part the verdict and the sentence with its next step."""
    status = main(["check", *arguments])
    found: dict[str, tuple[str, str]] = {}
    last = ""
    for line in capsys.readouterr().out.splitlines():
        if line.strip().startswith("->"):
            verdict, sentence = found[last]
            found[last] = verdict, f"{sentence} {line.strip()}"
        else:
            verdict, last, sentence = line.split(maxsplit=2)
            found[last] = verdict, sentence
    return status, found


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_all_is_well_with_the_example(
    name: str, service: Service, authority: proxies.Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with proxied(name, tmp_path, service, authority.certify(tmp_path, days=9)) as url:
        status, found = said(capsys, "--url", url, "--origin", ORIGIN, "--ca-file", str(authority.file))
        assert status == 0, found
        assert set(found) == {"address", "service", "links", "headers", "pages", "heads", "bodies", "stalls"}
        assert {verdict for verdict, _ in found.values()} == {"ok"}
        assert found["address"][1].endswith("soon")
        # The same of a configuration.
        file = tmp_path / "resumable-glance.conf"
        file.write_text(f"[DEFAULT]\npublic_endpoint = {url}\n[cors]\nallowed_origin = {ORIGIN}\n")
        status, found = said(capsys, "--url", "--config-file", str(file), "--ca-file", str(authority.file))
        assert (status, found["pages"][0]) == (0, "ok")


PASS = "proxy_pass http://$uploads;"
FAULTS = {
    "collects": ("bodies", "buffers request bodies", {"proxy_request_buffering off": "proxy_request_buffering on"}),
    "limits": ("bodies", "limits request bodies", {"client_max_body_size 0": "client_max_body_size 1m"}),
    "cuts off": ("stalls", "ended a stalled request", {"client_body_timeout 120s": "client_body_timeout 200ms"}),
    "http": ("links", "http:// addresses", {"proxy_set_header X-Forwarded-Proto $scheme;": ""}),
    "port": ("links", "addresses below https://127.0.0.1 ", {"Host $http_host": "Host $host"}),
    "range": ("headers", "/v1/uploads: a header", {PASS: f'{PASS} proxy_set_header Content-Range "";'}),
    "version": ("headers", "/v1/tus: a header", {PASS: f'{PASS} proxy_set_header Tus-Resumable "";'}),
    "offset": ("headers", "/v1/tus: a header", {PASS: f'{PASS} proxy_set_header Upload-Offset "";'}),
    "md5": ("headers", "Content-MD5 is removed", {PASS: f'{PASS} proxy_set_header Content-MD5 "";'}),
    "answer": ("headers", "Tus-Extension is removed", {PASS: f"{PASS} proxy_hide_header Tus-Extension;"}),
    "method": ("headers", "PATCH does not reach", {PASS: f"{PASS} limit_except GET POST OPTIONS {{ deny all; }}"}),
    "page": ("headers", "PATCH does not reach", {PASS: f"{PASS} proxy_intercept_errors on; error_page 404 /404.html;"}),
    "any": ("pages", f"{ORIGIN} and *, not", {PASS: f"{PASS} add_header Access-Control-Allow-Origin * always;"}),
    "hidden": ("pages", "may not upload", {PASS: f"{PASS} proxy_hide_header Access-Control-Allow-Origin;"}),
    "exposed": ("pages", "Expose-Headers lacks Accept-Patch",
                {PASS: f"{PASS} proxy_hide_header Access-Control-Expose-Headers;"}),
    "heads": ("heads", "refuses request heads", {"large_client_header_buffers 4 128k;": ""}),
    "elsewhere": ("service", "not from resumable-glance: 404", {"location / {": 'location / { return 404 "nothing";'}),
    "nobody": ("service", "not from resumable-glance: 502", {PASS: "proxy_pass http://127.0.0.1:1;"}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_proxy_is_named_with_its_remedy(
    fault: str, service: Service, authority: proxies.Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    part, words, changes = FAULTS[fault]
    monkeypatch.setattr(endpoint_check, "PROMPT", 1.0)
    if part != "stalls":
        monkeypatch.setattr(endpoint_check, "_stalls", lambda _: "not looked at")
    with proxied("nginx", tmp_path, service, authority.certify(tmp_path), changes) as url:
        status, found = said(capsys, "--url", url, "--origin", ORIGIN, "--ca-file", str(authority.file))
    assert status == 1
    assert [each for each, (verdict, _) in found.items() if verdict == "FAIL"] == [part], found
    assert words in found[part][1]
    assert " -> " in found[part][1]


@pytest.mark.parametrize(
    ("host", "days", "known", "words"),
    [
        ("127.0.0.1", -1, True, "has expired"),
        ("uploads.cloud.example", 2, True, "is not for 127.0.0.1"),
        ("127.0.0.1", 2, False, "authority is not trusted"),
    ],
)
def test_a_bad_certificate_is_reported(
    host: str, days: int, known: bool, words: str, service: Service, authority: proxies.Authority, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with proxied("haproxy", tmp_path, service, authority.certify(tmp_path, host, days)) as url:
        status, found = said(capsys, "--url", url, *(["--ca-file", str(authority.file)] if known else []))
    assert (status, set(found), found["address"][0]) == (1, {"address"}, "FAIL")
    assert words in found["address"][1]


def test_an_origin_that_is_not_allowed_is_reported(
    service: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_check, "_stalls", lambda _: "not looked at")
    status, found = said(capsys, "--url", service.url, "--origin", f"{ORIGIN}:8443")
    assert status == 1
    assert found["pages"][1].startswith(f"pages of {ORIGIN}:8443 may not upload -> Add {ORIGIN}:8443 to [cors]")


def test_an_address_without_a_server_is_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (port,) = process.free_ports(1)
    for url, words in (
        (f"http://127.0.0.1:{port}", "cannot be reached"),
        ("http://uploads.invalid", "not encrypted"),
        ("https://uploads.invalid", "cannot be resolved"),
        ("uploads.cloud.example", "is not an address"),
    ):
        status, found = said(capsys, "--url", url)
        assert (status, found["address"][0]) == (1, "FAIL")
        assert words in found["address"][1]
    file = tmp_path / "x.conf"
    file.touch()
    status, found = said(capsys, "--url", "--config-file", str(file))
    assert (status, found["configuration"][0]) == (1, "FAIL")
    assert "public_endpoint is not set" in found["configuration"][1]
    file.write_text("[DEFAULT]\nauth_strategy = noauth\nimage_service = directory\n")
    status, found = said(capsys, "--url", "--config-file", str(file))
    assert (status, found["address"][1].split(" ->")[0]) == (1, "public_endpoint is not set")


def test_an_endpoint_without_tls_is_reported(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = said(capsys, "--url", service.url.replace("http", "https"))
    assert (status, found["address"][0]) == (1, "FAIL")
    assert "no TLS" in found["address"][1]


@pytest.mark.openstack
def test_a_proxy_that_removes_credentials_is_reported(
    glance_service: Service, authority: proxies.Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(endpoint_check, "_stalls", lambda _: "not looked at")
    before = glance_service.configuration.read_text()
    for number, name in enumerate(("", "X-Auth-Token", "Authorization")):
        changes = {PASS: f'{PASS} proxy_set_header {name} "";'} if name else None
        directory = tmp_path / str(number)
        directory.mkdir()
        with proxied("nginx", directory, glance_service, authority.certify(directory), changes) as url:
            glance_service.configuration.write_text(before.replace(f"= {glance_service.url}\n", f"= {url}\n"))
            glance_service.restart()
            arguments = ["--url", url, "--ca-file", str(authority.file)]
            without_key = said(capsys, *arguments)
            status, found = said(capsys, *arguments, "--config-file", str(glance_service.configuration))
        assert (status, found["headers"][0]) == ((1, "FAIL") if name else (0, "ok"))
        assert without_key[0] == status
        assert ("not tested" in without_key[1]["headers"][1]) == (not name)
        assert not name or found["headers"][1].startswith(f"{name} is removed from requests")
