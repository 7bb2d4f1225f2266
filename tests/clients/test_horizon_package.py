"""The Horizon plugin as operators and translators get it: the wheel, deployment examples, extracted messages.

The deployment tools are not installed. Two shell functions stand in for DevStack.
"""

from __future__ import annotations

import ast
import email
import re
import subprocess
import zipfile
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # comes with oslo.policy

from tests.support.cloud import install
from tests.support.cloud.horizon import PLUGIN

PACKAGE = PLUGIN / "resumable_glance_dashboard"
EXAMPLES = PLUGIN / "examples"
ENABLED = {"_1051_resumable_glance.py", "_1052_project_image_uploads_panel.py", "_2161_admin_image_uploads_panel.py"}
# The part of DevStack that the plugin calls. $1: Horizon's directory; $2 and $3: mode and phase.
DEVSTACK = """
set -eu
DEST=/nowhere HORIZON_DIR=$1 RESUMABLE_GLANCE_DASHBOARD_DIR={plugin}
is_service_enabled() {{ [ "$1" = horizon ]; }}
pip_install() {{ echo "$1"; }}
source {plugin}/devstack/settings
run() {{ source {plugin}/devstack/plugin.sh "$@"; }}
run "${{@:2}}"
"""


def test_wheel_has_all_files_and_no_requirements(tmp_path: Path) -> None:
    install.uv("build", "--wheel", "--out-dir", tmp_path, PLUGIN)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as wheel:
        names = set(wheel.namelist())
        metadata = email.message_from_bytes(wheel.read(next(each for each in names if each.endswith("/METADATA"))))
    files = {str(each.relative_to(PLUGIN)) for each in PACKAGE.rglob("*") if each.is_file() and each.suffix != ".pyc"}
    assert {each for each in names if ".dist-info/" not in each} == files
    assert any(each.endswith("/licenses/LICENSE") for each in names)
    assert metadata.get_all("Requires-Dist") is None
    assert (PLUGIN / "LICENSE").read_text() == (PLUGIN.parents[1] / "LICENSE").read_text()


def devstack(horizon: Path, *phase: str) -> str:
    command = ["bash", "-c", DEVSTACK.format(plugin=PLUGIN), "devstack", str(horizon), *phase]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_devstack_plugin_installs_and_cleans_up(tmp_path: Path) -> None:
    local = tmp_path / "openstack_dashboard" / "local"
    for each in ("enabled", "local_settings.d"):
        (local / each).mkdir(parents=True)
        (local / each / "__init__.py").touch()  # Horizon's own
    before = sorted(local.rglob("*"))
    assert devstack(tmp_path, "stack", "install") == f"{PLUGIN}\n"
    devstack(tmp_path, "stack", "post-config")
    assert {each.name for each in (local / "enabled").iterdir()} == ENABLED | {"__init__.py"}
    settings: dict[str, object] = {}
    exec((local / "local_settings.d" / "_90_resumable_glance.py").read_text(), settings)
    assert (settings["HORIZON_IMAGES_UPLOAD_MODE"], settings["ENABLE_CLIENT_TOKEN"]) == ("direct", False)
    devstack(tmp_path, "unstack")
    assert sorted(local.rglob("*")) == before


def test_examples_are_readable() -> None:
    chosen = yaml.safe_load((EXAMPLES / "openstack-ansible-user_variables.yml").read_text())
    assert chosen["horizon_images_upload_mode"] == "direct"
    settings: dict[str, object] = {}
    exec((EXAMPLES / "kolla-ansible-9999-custom-settings.py").read_text(), settings)
    assert settings["HORIZON_IMAGES_UPLOAD_MODE"] == "direct"


def test_commands_copy_only_enabled_files() -> None:
    """Every documented pattern selects the enabled files, without `__init__.py`."""
    texts = [*EXAMPLES.iterdir(), *(PLUGIN / "devstack").iterdir(), PLUGIN / "README.md"]
    texts += [PLUGIN.parents[1] / "README.md", PLUGIN.parents[1] / "docs" / "horizon.md"]
    patterns = [each for text in texts for each in re.findall(r"enabled/(\S*\*\S*)", text.read_text())]
    assert len(patterns) >= 5
    for pattern in patterns:
        assert {each.name for each in (PACKAGE / "enabled").glob(pattern)} == ENABLED


def messages(kind: str, tmp_path: Path) -> set[str]:
    """Return the messages that Babel extracts with the configuration that OpenStack's translation jobs use."""
    template = tmp_path / f"{kind}.pot"
    keywords = ["gettext_lazy", "ngettext_lazy:1,2", "pgettext_lazy:1c,2", "npgettext_lazy:1c,2,3"]
    command = ["extract", "-F", str(PLUGIN / f"babel-{kind}.cfg"), *(f"-k{each}" for each in keywords)]
    program = install.environment(install.HORIZON) / "bin" / "pybabel"
    subprocess.run([program, "-q", *command, "-o", template, PACKAGE], check=True)
    # PO strings have C's escapes, as Python's have; long ones continue on the next lines.
    found = re.findall(r'^msgid(?:_plural)? ((?:".*"\n)+)', template.read_text(), re.MULTILINE)
    return {str(ast.literal_eval(f"({each})")) for each in found} - {""}


def test_texts_are_translatable(tmp_path: Path) -> None:
    python = messages("django", tmp_path)
    assert {"Image Uploads", "Average Rate", "Cancel Upload", "Cancel Uploads", "Resume"} <= python
    script = messages("djangojs", tmp_path)
    assert {"Pause", "Cancel Upload", "Continue in Background", "%(count)s seconds left", "GiB"} <= script
    # Literals that look like a sentence are marked for translation.
    for source in sorted((PACKAGE / "static" / PACKAGE.name).glob("*.js")):
        code = re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", source.read_text(), flags=re.DOTALL)
        literals = set(re.findall(r"'([A-Z][a-z]+[^'\n]* [a-z][^'\n]*)'", code))
        assert literals <= script, source.name
