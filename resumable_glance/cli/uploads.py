"""`resumable-glance uploads`: which uploads there are, where each one is, and how to let go of them."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from resumable_glance.cli.upload import add_service_options
from resumable_glance.client import Failure, cloud, connection, record
from resumable_glance.client.connection import Service
from resumable_glance.client.patience import Patience
from resumable_glance.client.plan import Action, Answer, decide, explain
from resumable_glance.client.progress import size

_UPLOAD_ID = re.compile(r"[a-z0-9]{1,16}-[0-9a-f]{32}")
_EPILOG = """\
examples:
  resumable-glance uploads list --long
  resumable-glance uploads list --all-projects
  resumable-glance uploads show a-0123456789abcdef0123456789abcdef
  resumable-glance uploads receipt a-0123456789abcdef0123456789abcdef --json > image.receipt
  resumable-glance uploads retry a-0123456789abcdef0123456789abcdef
  resumable-glance uploads cancel a-0123456789abcdef0123456789abcdef
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "uploads",
        help="list, show, prove, retry and cancel your uploads",
        description="Your uploads, as the service knows them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = command.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="your uploads, newest first", description="Your uploads, newest first.")
    listing.add_argument("--long", action="store_true", help="more columns")
    listing.add_argument(
        "--all-projects", action="store_true", help="those of everybody, for who may see them (admin, service)"
    )
    showing = actions.add_parser("show", help="everything about one", description="Everything about one upload.")
    showing.add_argument("id", type=_upload_id, metavar="ID")
    receipt = actions.add_parser(
        "receipt",
        help="the signed proof that an image is the file",
        description="The proof that an image is the file, once its signature is found to be that of the service. Keep "
        "what --json gives: its jws can be verified by anybody who has the service's public keys (/v1/keys).",
    )
    receipt.add_argument("id", type=_upload_id, metavar="ID")
    retrying = actions.add_parser(
        "retry",
        help="hand an upload over once more that has failed, or now one that waits",
        description="Hand an upload over once more that has failed, or now one that waits. Its bytes stay.",
    )
    retrying.add_argument("id", type=_upload_id, metavar="ID")
    cancelling = actions.add_parser(
        "cancel",
        help="give up uploads: their bytes and their unfinished images are deleted",
        description="Give up uploads: their bytes, and the images that were made for them, are deleted.",
    )
    cancelling.add_argument("ids", type=_upload_id, nargs="+", metavar="ID")
    for action, what in (
        (listing, _list),
        (showing, _show),
        (receipt, _receipt),
        (retrying, _retry),
        (cancelling, _cancel),
    ):
        if what in {_list, _show, _receipt}:
            action.add_argument("--json", action="store_true", help="for programs, as the service answers")
        add_service_options(action)
        action.set_defaults(func=run, action=what)


def run(arguments: argparse.Namespace) -> int:
    """Carry the action out; the exit status."""
    try:
        with contextlib.closing(cloud.connect(arguments, 1)) as user:
            service = connection.find(user, arguments.service_url, Patience(_complain, give_up_after=0))
            status: int = arguments.action(service, arguments)
        sys.stdout.flush()
    except Failure as failure:
        print(f"resumable-glance: {failure}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `uploads list | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _list(service: Service, arguments: argparse.Namespace) -> int:
    found = list(_all(service, arguments.all_projects))
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    columns = ["ID", "STATE", "RECEIVED", "SIZE", "IMAGE", "NAME"]
    if arguments.all_projects:
        columns += ["PROJECT", "USER"]
    if arguments.long:
        columns += ["STORE", "CREATED", "UPDATED", "EXPIRES"]
    _print_table([columns, *(_row(each, arguments.long) for each in found)])
    return 0


def _show(service: Service, arguments: argparse.Namespace) -> int:
    document = _done(service.inspect(arguments.id)).document
    if arguments.json:
        print(json.dumps(document, indent=1))
        return 0
    _print_table([[name, value] for name, value in _flat("", dict(document))])
    return 0


def _receipt(service: Service, arguments: argparse.Namespace) -> int:
    from resumable_glance.auth.signing import verify

    receipt = dict(_done(service.receipt(arguments.id)).document)
    said = {name: value for name, value in receipt.items() if name != "jws"}
    try:
        signed = verify(str(receipt["jws"]), _done(service.keys()).document)
    except ValueError as problem:
        raise Failure(f"The receipt is not signed by this service: {problem}.") from None
    if signed != said or said["upload_id"] != arguments.id or said["ours"] != said["glance"]:
        raise Failure("The receipt does not say what is signed, or not that the image is the file.")
    if arguments.json:
        print(json.dumps(receipt, indent=1))
    else:
        _print_table([[name, value] for name, value in _flat("", said)])
    return 0


def _retry(service: Service, arguments: argparse.Namespace) -> int:
    document = _done(service.retry(arguments.id)).document
    print(f"{arguments.id} is {document['state']}")
    return 0


def _cancel(service: Service, arguments: argparse.Namespace) -> int:
    status = 0
    for upload_id in arguments.ids:
        answer = service.cancel(upload_id)
        action = decide(answer).action
        if action in {Action.DONE, Action.GONE}:
            record.forget(upload_id)
        if action is Action.DONE:
            print(f"{upload_id} is cancelled")
        else:
            print(f"resumable-glance: {upload_id}: {explain(answer)}", file=sys.stderr)
            status = 1
    return status


def _all(service: Service, all_projects: bool) -> Iterator[dict[str, Any]]:
    marker: str | None = None
    while True:
        document: Any = _done(service.survey(marker, all_projects)).document
        page = document["uploads"]
        if not page:
            return
        yield from page
        marker = page[-1]["id"]


def _done(answer: Answer) -> Answer:
    """The answer, if it says yes. Failure otherwise."""
    if answer.status is None:
        raise Failure(f"The service does not answer: {answer.detail}.")
    if decide(answer).action is not Action.DONE:
        raise Failure(explain(answer))
    return answer


def _complain(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _row(upload: dict[str, Any], long: bool) -> list[str]:
    image = upload["image"] or {"id": "-", "name": "-", "store": None}  # a part of another upload has none
    told = "-" if upload["size"] is None else size(upload["size"])
    row = [upload["id"], upload["state"], size(upload["received"]), told, image["id"], image["name"] or "-"]
    if "owner" in upload:
        row += [upload["owner"]["project_id"], upload["owner"]["user_id"]]
    if long:
        row += [image["store"] or "-", upload["created_at"], upload["updated_at"], upload["expires_at"] or "-"]
    return row


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """A document as names with dots and texts."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, each)
    elif isinstance(value, list):
        yield prefix, ", ".join("-".join(map(str, each)) if isinstance(each, list) else str(each) for each in value)
    else:
        yield prefix, "-" if value is None else str(value)


def _print_table(rows: list[list[str]]) -> None:
    """Columns of plain text: they can be cut and grepped, and nothing in a name is taken for markup."""
    clean = [["".join(c if c.isprintable() else "?" for c in cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    for row in clean:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _upload_id(text: str) -> str:
    if not _UPLOAD_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of an upload")
    return text
