"""`resumable-glance uploads`: list, show, retry and cancel uploads; get signed receipts."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from resumable_glance.cli.service_options import add_service_options, connect_as, matching
from resumable_glance.client import ApiClient, ClientError, find_service, resume_state
from resumable_glance.client.plan import Action, ApiResponse, decide, explain
from resumable_glance.client.progress import format_size
from resumable_glance.client.retry import RetryPolicy

_ENDED = frozenset({"active", "cancelled", "expired", "joined"})  # states without scratch of their own
DESCRIPTION = "List, show, retry and cancel your uploads, and get signed receipts of verified images."
EPILOG = """\
Exit status: 0 for success, 1 for a failure, 2 for a wrong command line.

examples:
  resumable-glance uploads list --long
  resumable-glance uploads list --all-projects
  resumable-glance uploads list --by-project
  resumable-glance uploads show a-0123456789abcdef0123456789abcdef
  resumable-glance uploads receipt a-0123456789abcdef0123456789abcdef --json > image.receipt
  resumable-glance uploads retry a-0123456789abcdef0123456789abcdef
  resumable-glance uploads cancel a-0123456789abcdef0123456789abcdef
"""


def add_options(command: argparse.ArgumentParser) -> None:
    upload_id = matching("[a-z0-9]{1,16}-[0-9a-f]{32}", "an upload ID", str)
    actions = command.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list uploads", description="List your uploads, newest first.")
    listing.add_argument("--long", action="store_true", help="show more columns")
    listing.add_argument(
        "--all-projects", action="store_true", help="list the uploads of all projects (roles admin and service)"
    )
    listing.add_argument(
        "--by-project",
        action="store_true",
        help="show what the unfinished uploads of each project hold of scratch, the most first (as --all-projects)",
    )
    showing = actions.add_parser("show", help="show an upload", description="Show all properties of an upload.")
    receipt = actions.add_parser(
        "receipt",
        help="get the signed receipt of a verified image",
        description="Get the receipt of a verified image, and verify its signature. Keep the output of --json: "
        "anyone with the public keys of the service (/v1/keys) can verify its jws.",
    )
    retrying = actions.add_parser(
        "retry",
        help="repeat the handoff to Glance",
        description="Repeat the handoff of a failed upload, or begin that of a waiting one now. Its bytes are kept.",
    )
    cancelling = actions.add_parser(
        "cancel",
        help="cancel uploads",
        description="Cancel uploads: their bytes and their unfinished images are deleted.",
    )
    for action in (showing, receipt, retrying):
        action.usage = "%(prog)s [OPTIONS] ID"
        action.add_argument("id", type=upload_id, metavar="ID", help="ID of the upload, as 'uploads list' shows it")
    listing.usage = "%(prog)s [OPTIONS]"
    cancelling.usage = "%(prog)s [OPTIONS] ID [ID ...]"
    cancelling.add_argument("ids", type=upload_id, nargs="+", metavar="ID", help="IDs of uploads")
    functions = {listing: _list, showing: _show, receipt: _receipt, retrying: _retry, cancelling: _cancel}
    for action, function in functions.items():
        if action in (listing, showing, receipt):
            action.add_argument("--json", action="store_true", help="print the JSON of the service")
        add_service_options(action)
        action.set_defaults(action=function)


def run(arguments: argparse.Namespace) -> int:
    """Run an action, and return the exit status."""
    try:
        with connect_as(arguments, 1) as cloud:
            api = find_service(cloud, arguments.service_url, RetryPolicy(_print_error, give_up_after=0))
            status: int = arguments.action(api, arguments)
        sys.stdout.flush()
    except ClientError as problem:
        _print_error(str(problem))
        return 1
    except BrokenPipeError:  # uploads list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _list(api: ApiClient, arguments: argparse.Namespace) -> int:
    found = list(_all(api, arguments.all_projects or arguments.by_project))
    if arguments.by_project:
        found = _by_project(found)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    if arguments.by_project:
        _print_table([["PROJECT", "UPLOADS", "RESERVED", "RECEIVED"], *map(_project_row, found)])
        return 0
    columns = ["ID", "STATE", "RECEIVED", "SIZE", "IMAGE", "NAME"]
    if arguments.all_projects:
        columns += ["PROJECT", "USER"]
    if arguments.long:
        columns += ["STORE", "CREATED", "UPDATED", "EXPIRES"]
    _print_table([columns, *(_row(each, arguments.long) for each in found)])
    return 0


def _show(api: ApiClient, arguments: argparse.Namespace) -> int:
    _print_document(_accepted(api.get(arguments.id)).document, arguments.json)
    return 0


def _receipt(api: ApiClient, arguments: argparse.Namespace) -> int:
    from resumable_glance.client.receipts import verify  # 50 ms to import, for this action only

    receipt = _accepted(api.receipt(arguments.id)).document
    statement = {name: value for name, value in receipt.items() if name != "jws"}
    try:
        signed = verify(str(receipt["jws"]), _accepted(api.keys()).document)
    except ValueError as problem:
        raise ClientError(f"The receipt is not signed by this service: {problem}.") from None
    if signed != statement or statement["upload_id"] != arguments.id or statement["ours"] != statement["glance"]:
        raise ClientError("The receipt differs from what is signed, or does not show that the image is the file.")
    _print_document(receipt if arguments.json else statement, arguments.json)
    return 0


def _retry(api: ApiClient, arguments: argparse.Namespace) -> int:
    print(f"{arguments.id} is {_accepted(api.retry(arguments.id)).document['state']}")
    return 0


def _cancel(api: ApiClient, arguments: argparse.Namespace) -> int:
    status = 0
    for upload_id in arguments.ids:
        response = api.cancel(upload_id)
        action = decide(response)
        if action in {Action.DONE, Action.GONE}:
            resume_state.forget(upload_id)
        if action is Action.DONE:
            print(f"{upload_id} is cancelled")
        else:
            _print_error(f"{upload_id}: {explain(response)}")
            status = 1
    return status


def _all(api: ApiClient, all_projects: bool) -> Iterator[dict[str, Any]]:
    marker = None
    while page := _accepted(api.list_uploads(marker, all_projects)).document["uploads"]:
        yield from page
        marker = page[-1]["id"]


def _accepted(response: ApiResponse) -> ApiResponse:
    """Return a successful response. Raise ClientError for any other."""
    if response.status is None:
        raise ClientError(f"The service does not respond: {response.detail}.")
    if decide(response) is not Action.DONE:
        raise ClientError(explain(response))
    return response


def _by_project(uploads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the unfinished uploads of each project hold of scratch, in bytes, the most first."""
    found: dict[str, dict[str, Any]] = {}
    for each in uploads:
        if each["state"] in _ENDED:
            continue
        project_id = each["owner"]["project_id"]
        project = found.setdefault(project_id, {"project_id": project_id, "uploads": 0, "reserved": 0, "received": 0})
        project["uploads"] += 1
        project["reserved"] += each["reserved"]
        project["received"] += each["received"]
    return sorted(found.values(), key=lambda project: (-project["reserved"], project["project_id"]))


def _project_row(project: dict[str, Any]) -> list[str]:
    sizes = [format_size(project["reserved"]), format_size(project["received"])]
    return [project["project_id"], str(project["uploads"]), *sizes]


def _print_error(message: str) -> None:
    print(f"resumable-glance: {message}", file=sys.stderr)


def _row(upload: dict[str, Any], long: bool) -> list[str]:
    image = upload["image"] or {"id": "-", "name": "-", "store": None}  # None: a part of another upload
    total = "-" if upload["size"] is None else format_size(upload["size"])
    row = [upload["id"], upload["state"], format_size(upload["received"]), total, image["id"], image["name"] or "-"]
    if "owner" in upload:
        row += [upload["owner"]["project_id"], upload["owner"]["user_id"]]
    if long:
        row += [image["store"] or "-", upload["created_at"], upload["updated_at"], upload["expires_at"] or "-"]
    return row


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the dotted names and the values of a JSON document."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, each)
    elif isinstance(value, list):
        yield prefix, ", ".join("-".join(map(str, each)) if isinstance(each, list) else str(each) for each in value)
    else:
        yield prefix, "-" if value is None else str(value)


def _print_document(document: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(document, indent=1))
    else:
        _print_table([[name, value] for name, value in _flat("", document)])


def _print_table(rows: list[list[str]]) -> None:
    """Print aligned columns of plain text, without control characters from names."""
    clean = [["".join(c if c.isprintable() else "?" for c in cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    for row in clean:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
