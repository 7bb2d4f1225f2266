"""The Horizon plugin as operators and translators get it.

The deployment tools themselves are not here: two functions that our script calls stand in for DevStack.
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
# DevStack as far as our script needs it. $1: Horizon's directory; $2 and $3: mode and phase.
DEVSTACK = """
set -eu
DEST=/nowhere HORIZON_DIR=$1 RESUMABLE_GLANCE_DASHBOARD_DIR={plugin}
is_service_enabled() {{ [ "$1" = horizon ]; }}
pip_install() {{ echo "$1"; }}
source {plugin}/devstack/settings
run() {{ source {plugin}/devstack/plugin.sh "$@"; }}
run "${{@:2}}"
"""


def test_the_wheel_is_complete_and_has_no_requirements(tmp_path: Path) -> None:
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


def test_the_devstack_plugin_installs_and_removes_its_files(tmp_path: Path) -> None:
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


def test_the_examples_are_valid_for_their_tools() -> None:
    chosen = yaml.safe_load((EXAMPLES / "openstack-ansible-user_variables.yml").read_text())
    assert chosen["horizon_images_upload_mode"] == "direct"
    settings: dict[str, object] = {}
    exec((EXAMPLES / "kolla-ansible-9999-custom-settings.py").read_text(), settings)
    assert settings["HORIZON_IMAGES_UPLOAD_MODE"] == "direct"


def test_each_command_copies_exactly_the_enabled_files() -> None:
    """`_*.py` would be `__init__.py`, too."""
    texts = [*EXAMPLES.iterdir(), *(PLUGIN / "devstack").iterdir(), PLUGIN / "README.md"]
    texts += [PLUGIN.parents[1] / "README.md", PLUGIN.parents[1] / "docs" / "horizon.md"]
    patterns = [each for text in texts for each in re.findall(r"enabled/(\S*\*\S*)", text.read_text())]
    assert len(patterns) >= 5
    for pattern in patterns:
        assert {each.name for each in (PACKAGE / "enabled").glob(pattern)} == ENABLED


def messages(kind: str, tmp_path: Path) -> set[str]:
    """What translators get of this kind of source, by Babel and the file that OpenStack's jobs look for."""
    template = tmp_path / f"{kind}.pot"
    keywords = ["gettext_lazy", "ngettext_lazy:1,2", "pgettext_lazy:1c,2", "npgettext_lazy:1c,2,3"]
    command = ["extract", "-F", str(PLUGIN / f"babel-{kind}.cfg"), *(f"-k{each}" for each in keywords)]
    program = install.environment(install.HORIZON) / "bin" / "pybabel"
    subprocess.run([program, "-q", *command, "-o", template, PACKAGE], check=True)
    # PO strings have the escapes of C, which are Python's, too; a long one goes on in the next lines.
    found = re.findall(r'^msgid(?:_plural)? ((?:".*"\n)+)', template.read_text(), re.MULTILINE)
    return {str(ast.literal_eval(f"({each})")) for each in found} - {""}


def test_all_messages_can_be_translated(tmp_path: Path) -> None:
    python = messages("django", tmp_path)
    assert {"Image Uploads", "Average Rate", "Cancel Upload", "Cancel Uploads", "Resume"} <= python
    script = messages("djangojs", tmp_path)
    sentences = {"Pause", "Cancel Upload", "Continue in Background", "%(count)s seconds left", "Waiting to go on"}
    assert sentences <= script
    # Whatever else in a script looks like a sentence is one that nobody could translate.
    for source in sorted((PACKAGE / "static" / PACKAGE.name).glob("*.js")):
        code = re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", source.read_text(), flags=re.DOTALL)
        literals = set(re.findall(r"'([A-Z][a-z]+[^'\n]* [a-z][^'\n]*)'", code))
        assert literals <= script, source.name
