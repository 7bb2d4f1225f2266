"""The documentation names the reasons, states and events of the package, each of them and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest
import schemathesis

from resumable_glance.api.protocols import native, native_json, parsing, problems
from resumable_glance.errors import Reason
from resumable_glance.model.digests import IMAGE_ALGORITHMS
from resumable_glance.model.states import TRANSITIONS, Event, State
from resumable_glance.model.upload import FailureReason
from tests import ROOT

DOCS = ROOT / "docs"
API = schemathesis.openapi.from_path(DOCS / "openapi.yaml")
DOCUMENT: dict[str, Any] = API.raw_schema
SCHEMAS = DOCUMENT["components"]["schemas"]


def rows(page: str, heading: str = "") -> list[list[str]]:
    """The cells of all table rows that begin with code, of a page or of what follows a line of it."""
    text = (DOCS / page).read_text()
    section = re.split("^#", text.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.M)[0] if heading else text
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line] for line in lines]


def code(cell: str) -> list[str]:
    """The words that a cell marks as code."""
    return re.findall(r"`([^`]+)`", cell)


def test_each_reason_is_described_with_its_status() -> None:
    described = [(code(row[0])[0], int(row[1])) for row in rows("problems.md") if len(row) == 4]
    assert described == [(each.value, each.status) for each in Reason]


def test_each_member_of_a_problem_is_described() -> None:
    described = {code(row[0])[0]: code(row[1]) for row in rows("problems.md") if len(row) == 3}
    assert {fact: header[0] for fact, header in described.items() if header} == problems.HEADERS
    problem = SCHEMAS["Problem"]
    assert described.keys() == problem["properties"].keys() - set(problem["required"])


@pytest.mark.parametrize("reason", Reason)
def test_a_problem_has_the_type_that_is_described(reason: Reason) -> None:
    assert re.search(SCHEMAS["Problem"]["properties"]["type"]["pattern"], problems.TYPE_PREFIX + reason)


def test_each_state_is_described() -> None:
    assert [code(row[0])[0] for row in rows("native-protocol.md", "## States")] == [*State]
    assert SCHEMAS["State"]["enum"] == [*State]


def test_each_failure_reason_is_described() -> None:
    listed = rows("native-protocol.md", "Reasons in `handoff.last_error`:")
    described = [name for row in listed for name in code(row[0])]
    assert sorted(described) == sorted(SCHEMAS["FailureReason"]["enum"]) == sorted(FailureReason)


def test_each_transition_is_described() -> None:
    described = {
        (State(state), Event(code(row[0])[0])): State(code(to)[0])
        for row in rows("how-it-works.md", "## The table of states")
        for origins, to in (each.split("→") for each in row[2].split(";"))
        for state in code(origins)
    }
    assert described == TRANSITIONS


def test_the_document_is_openapi() -> None:
    API.validate()


def parts(node: object) -> Iterator[dict[str, Any]]:
    """All objects of a document."""
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(each)


def referred(node: dict[str, Any]) -> set[str]:
    return {each["$ref"] for each in parts(node) if isinstance(each.get("$ref"), str)}


def test_each_component_is_used() -> None:
    kinds = {name: kind for name, kind in DOCUMENT["components"].items() if name != "securitySchemes"}
    assert referred(DOCUMENT) == {f"#/components/{kind}/{name}" for kind, named in kinds.items() for name in named}


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_required_member_is_described(name: str) -> None:
    objects = [each for each in parts(SCHEMAS[name]) if "properties" in each and isinstance(each.get("required"), list)]
    assert [each for each in objects if not set(each["required"]) <= each["properties"].keys()] == []


def examples() -> list[tuple[dict[str, Any], object]]:
    """Each example of the document, with the schema that it is one of."""
    found: list[tuple[dict[str, Any], object]] = []
    for each in parts(DOCUMENT):
        schema = each.get("schema", each)
        found += [(schema, each["example"])] if "example" in each else []
        if isinstance(each.get("examples"), dict):
            found += [(schema, one["value"]) for one in each["examples"].values()]
        elif isinstance(each.get("examples"), list):
            found += [(schema, one) for one in each["examples"]]
    return found


def test_there_are_examples() -> None:
    assert len(examples()) > 10


@pytest.mark.parametrize(("schema", "example"), examples())
def test_each_example_is_valid(schema: dict[str, Any], example: object) -> None:
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(example)


@pytest.mark.parametrize(
    ("within", "accepted"),
    [
        ((), native_json.CreateUpload),
        (("properties", "image"), native_json.NewImage),
    ],
)
def test_a_creation_has_the_members_that_the_service_accepts(within: tuple[str, ...], accepted: type) -> None:
    described: Any = SCHEMAS["CreateUpload"]
    for step in within:
        described = described[step]
    members = msgspec.structs.fields(accepted)
    assert described["properties"].keys() == {each.name for each in members}
    assert set(described["required"]) == {each.name for each in members if each.required}


def test_the_document_has_the_limits_of_the_service() -> None:
    image = SCHEMAS["CreateUpload"]["properties"]["image"]["properties"]
    assert image["properties"]["maxProperties"] == parsing.MAX_PROPERTIES
    assert image["tags"]["maxItems"] == parsing.MAX_TAGS
    assert SCHEMAS["CreateUpload"]["properties"]["stores"]["maxItems"] == native_json.MAX_STORES
    assert set(image["properties"]["propertyNames"]["not"]["enum"]) == parsing.RESERVED
    send = DOCUMENT["paths"][native.MOUNT + "/{upload_id}"]["patch"]
    place = next(each for each in send["parameters"] if each.get("name") == "Content-Range")
    assert place["schema"]["pattern"] == f"^{parsing.CONTENT_RANGE.pattern}$"
    assert send["requestBody"]["content"].keys() == {native.ACCEPTED, native.ZEROS}
    create = DOCUMENT["paths"][native.MOUNT]["post"]
    assert number_in(create["requestBody"]["description"]) == native.MAX_DOCUMENT_SIZE
    assert DOCUMENT["components"]["parameters"]["Limit"]["schema"]["default"] == native.MAX_LISTED
    assert set(SCHEMAS["Capabilities"]["properties"]["whole_image_digests"]["items"]["enum"]) == set(IMAGE_ALGORITHMS)
    assert SCHEMAS["Bytes"]["maximum"] == parsing.SAFE_INTEGER


def number_in(sentence: str) -> int:
    """The number in a sentence."""
    (number,) = re.findall(r"[0-9]+", sentence)
    return int(number)
