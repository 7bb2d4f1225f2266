"""What is generated from the source: the sample configuration, the API in OpenAPI, and tables of the documentation.

    python -m tests.generated            make all of it again
    python -m tests.generated --check    fail where a file is not what would be made

Needs the project installed: oslo-config-generator finds options by their entry point.
"""

from __future__ import annotations

import argparse
import difflib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from resumable_glance.api.protocols.problems import STATUS
from resumable_glance.errors import Reason
from resumable_glance.model.states import TRANSITIONS, Event, State
from tests import ROOT, openapi
from tests.reliability import page

DOCS = ROOT / "docs"
NOTICE = "<!-- Made by `python -m tests.generated`. Change its source, not this file. -->\n"
NAMESPACES = ("resumable_glance", "oslo.log", "oslo.policy")
WRAP_WIDTH = 100
# The sample is made on a machine with this name, so many processors and this home: none of it may be seen in it.
MARKS = ("planted-host", "4711", "/planted/home")
GENERATOR = """
import multiprocessing, os, platform, socket, sys
name, processors, home = sys.argv[1:4]
socket.gethostname = socket.getfqdn = platform.node = lambda *_: name
os.cpu_count = os.process_cpu_count = multiprocessing.cpu_count = lambda: int(processors)
os.path.expanduser = lambda path: str(path).replace("~", home)
from oslo_config import generator
generator.main(sys.argv[4:])
"""

# What each state means to a client, and what it should do then.
STATES: Mapping[State, tuple[str, str]] = {
    State.RECEIVING: (
        "Bytes are missing.",
        "Send the ranges that are missing. After a failure ask first which ones those are.",
    ),
    State.SEALED: (
        "All bytes are durable. Nothing can be written any more. The handoff waits for its turn, or for its next "
        "attempt (see `handoff.trouble`).",
        "Send nothing. Ask again after a second or more. Asking also hands over a fresh token if one is needed.",
    ),
    State.DELIVERING: (
        "The bytes are read back and checked, and the sink is being given them.",
        "Ask again. `handoff.delivered` tells how far it is.",
    ),
    State.VERIFYING: (
        "The sink has all bytes. Its receipt is compared with our own hashes.",
        "Ask again. The image may look active in Glance already, but it is not proven yet.",
    ),
    State.ACTIVE: (
        "The image is the file: size, md5 and sha512 are equal on both sides. Scratch is free again.",
        "Done. `hashes` has the proof.",
    ),
    State.FAILED: (
        "The handoff will not go on by itself; `handoff.trouble` says why. The bytes are kept.",
        "Show the trouble to a person. Once its cause is gone, `POST .../retry` asks for another try. `DELETE` frees "
        "the space.",
    ),
    State.JOINED: (
        "A part (tus: concatenation) whose bytes belong to another upload now, which `joined_into` names.",
        "Go on with that one.",
    ),
    State.CANCELLED: ("Its owner has cancelled it. The bytes are gone.", "Create a new upload if it is still wanted."),
    State.EXPIRED: (
        "Nobody has sent a byte for too long. The bytes are gone.",
        "Create a new upload if it is still wanted.",
    ),
}
EVENTS: Mapping[Event, str] = {
    Event.FILLED: "the last gap was closed",
    Event.STARTED: "an attempt of the handoff begins",
    Event.POSTPONED: "the attempt did not succeed; there will be another",
    Event.DELIVERED: "the sink has taken all bytes",
    Event.VERIFIED: "the receipt is our proof",
    Event.FAILED: "a digest, the receipt, the sink or scratch says that another attempt would not help",
    Event.REPLACED: "the image can't be filled any more, and another one was made in its place",
    Event.RETRIED: "its owner asks for another try",
    Event.JOINED: "a part that has all of its bytes is joined with others into one upload",
    Event.CANCELLED: "its owner cancels it",
    Event.EXPIRED: "no byte came for `upload_expiry` seconds",
}
# What each problem means, and what the client should do about it.
PROBLEMS: Mapping[Reason, tuple[str, str]] = {
    Reason.MALFORMED: (
        "A header, a query parameter or the JSON document is missing, doubled or not in its grammar.",
        "Correct the request.",
    ),
    Reason.HEAD_TOO_LARGE: (
        "The request has more headers, or more bytes of them, than are taken.",
        "Send fewer or shorter ones.",
    ),
    Reason.NOT_FOUND: ("There is nothing at this address.", "Look at the service URL."),
    Reason.METHOD_NOT_ALLOWED: ("The address does not have this method.", "Use one that `Allow` names."),
    Reason.UNSUPPORTED_MEDIA_TYPE: (
        "The body is not of the type that is taken here. Forms are never taken.",
        "Send JSON to create, and a chunk's bytes alone as `application/octet-stream`.",
    ),
    Reason.UNSUPPORTED_ENCODING: (
        "The body came with a `Content-Encoding`, or a `Transfer-Encoding` besides chunked.",
        "Send the bytes as they are.",
    ),
    Reason.UNSUPPORTED_DIGEST: ("The digest algorithm is not known here.", "Use one that `OPTIONS` names."),
    Reason.UNSUPPORTED_VERSION: (
        "tus: `Tus-Resumable` is missing or names another version.",
        "Send `Tus-Resumable: 1.0.0`.",
    ),
    Reason.WRONG_OFFSET: (
        "tus, IETF: the chunk does not begin at the offset, which `offset` tells.",
        "Go on from there.",
    ),
    Reason.WRONG_TOTAL: (
        "The upload has another size than the one told now, or more bytes than that came already.",
        "Stop: it is another file, or the file has changed.",
    ),
    Reason.WRONG_DIGEST: (
        "Another digest of the whole image, with the same algorithm, was declared before.",
        "Stop: it is another file, or the file has changed.",
    ),
    Reason.BODY_TOO_LONG: (
        "The body has more bytes than its range, or the JSON document more than `limit`.",
        "Correct the range. Nothing beyond it was stored.",
    ),
    Reason.BODY_TOO_SHORT: (
        "The body ended before its range does.",
        "Ask what is durable, and send the rest.",
    ),
    Reason.CHUNK_TOO_LARGE: ("The chunk's range has more bytes than `limit`.", "Send smaller chunks."),
    Reason.CHUNK_DIGEST_MISMATCH: (
        "The body is not what its digest says. Nothing of it was kept.",
        "Send it again. If that does not help, the file is being changed or the digest is computed wrongly.",
    ),
    Reason.DIFFERENT_BYTES: (
        "Durable bytes in this range are not those of the body.",
        "Stop: it is another file, or the file has changed.",
    ),
    Reason.KEY_REUSED: (
        "The `Idempotency-Key` has created another upload than this one.",
        "Use a new key for each upload.",
    ),
    Reason.FORMAT_MISMATCH: (
        "The image's bytes are of another format than the declared one, or of none. The upload is `failed`.",
        "Declare what it is, or `auto`, in a new upload.",
    ),
    Reason.UNSAFE_IMAGE: (
        "The image points to other files, or is built in a way that Glance does not allow; `detail` says what it is. "
        "The upload is `failed`.",
        "Convert it into an image that holds everything (`qemu-img convert`), and upload that.",
    ),
    Reason.DISK_TOO_LARGE: (
        "The disk in the image is larger than allowed. The upload is `failed`.",
        "Ask the operator.",
    ),
    Reason.UNAUTHENTICATED: (
        "There is neither token nor ticket, or nobody takes it (any more).",
        "Get a new token (or ticket) and repeat the request.",
    ),
    Reason.TICKET_EXPIRED: (
        "The ticket's time is over, or its upload's tickets were revoked.",
        "Get a new one from whoever created the upload, ask what is durable, and go on.",
    ),
    Reason.FORBIDDEN: (
        "The token is not scoped to a project, or Glance does not let this user make such an image; or a ticket was "
        "shown for what only a token opens.",
        "Use a token of a project in which you may make images.",
    ),
    Reason.UNKNOWN_UPLOAD: (
        "There is no such upload, or it is somebody else's. Both look the same.",
        "Create a new one. Is it the same user, project and instance?",
    ),
    Reason.CANCELLED: ("The upload was cancelled.", "Create a new one if it is still wanted."),
    Reason.EXPIRED: ("Nobody has continued the upload for too long.", "Create a new one."),
    Reason.LOST: ("The service's scratch disk has lost the bytes; the upload is `failed`.", "Create a new one."),
    Reason.USELESS: (
        "The upload has failed for its bytes: they are not what was declared, or they are lost.",
        "Cancel it, and create a new one.",
    ),
    Reason.UNFINISHED: (
        "What was asked for needs all bytes of the upload, and some are missing.",
        "Send them first.",
    ),
    Reason.JOINED: (
        "tus: the upload was joined with others into one, or is that one, or has an image of its own and can't be part "
        "of another.",
        "Nothing can be sent to it. Ask for the upload that `joined_into` names.",
    ),
    Reason.SEALED: (
        "The upload is past what was asked for: all bytes are there, or its image is active.",
        "Ask which state it is in.",
    ),
    Reason.UPLOAD_TOO_LARGE: ("The upload would have more bytes than `limit`.", "Ask the operator."),
    Reason.IMAGE_UNKNOWN: ("There is no such image in your project.", "Look at `image_id`."),
    Reason.IMAGE_NOT_QUEUED: ("The image does not wait for data.", "Make a new image."),
    Reason.IMAGE_REFUSED: ("Glance does not make such an image; its words are in `detail`.", "Correct the document."),
    Reason.OVER_QUOTA: ("Glance's quota does not allow the image.", "Delete images, or ask for more quota."),
    Reason.OVER_LIMIT: (
        "The project has too many uploads or bytes on their way, or creates uploads too fast, or asks too often, or "
        "too many connections come from one address; `detail` says which.",
        "Wait for `Retry-After` seconds, finish or cancel uploads, and repeat.",
    ),
    Reason.NO_SPACE: (
        "There is no scratch space for so many bytes right now.",
        "Wait for `Retry-After` seconds, and go on. Acknowledged bytes are kept.",
    ),
    Reason.SCRATCH_FAILED: (
        "The bytes could not be stored or read. Acknowledged bytes are kept.",
        "Wait for `Retry-After` seconds, ask what is durable, and go on.",
    ),
    Reason.IDENTITY_UNAVAILABLE: ("Keystone can't be asked right now.", "Wait for `Retry-After` seconds, and repeat."),
    Reason.IMAGE_SERVICE_UNAVAILABLE: (
        "Glance can't be asked to make the image right now.",
        "Wait for `Retry-After` seconds, and repeat.",
    ),
    Reason.BUSY: ("The service has too many open connections.", "Wait for `Retry-After` seconds, and repeat."),
    Reason.CLOSING: (
        "The service is being stopped or restarted.",
        "Wait for `Retry-After` seconds, ask what is durable, and go on.",
    ),
    Reason.INTERNAL: (
        "A defect of the service; its log has it under the request id.",
        "Wait a little, ask what is durable, and go on. Tell the operator the request id.",
    ),
    Reason.DISCONNECTED: (
        "The connection ended before the body did. It is only seen in the log: nobody is there to read it.",
        "Connect again, ask what is durable, and go on.",
    ),
    Reason.STALLED: (
        "No byte of the body came for `idle_timeout` seconds, or the head took longer than `head_timeout`.",
        "Ask what is durable, and go on.",
    ),
    Reason.SUPERSEDED: (
        "A newer request has taken over bytes of this chunk.",
        "If that was you: nothing. Else ask what is durable, and find out who else sends.",
    ),
}


def sample() -> str:
    """The sample configuration, as oslo-config-generator makes it."""
    command = [sys.executable, "-c", GENERATOR, *MARKS, "--wrap-width", str(WRAP_WIDTH)]
    for each in NAMESPACES:
        command += ["--namespace", each]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode or made.stderr:
        sys.exit(f"oslo-config-generator failed; is the project installed (nox -s generate does that)?\n{made.stderr}")
    found = [each for each in (*MARKS, str(ROOT), sys.prefix) if each in made.stdout]
    if found:
        sys.exit(f"The sample has values of the machine that it is made on: {', '.join(found)}. Set sample_default.")
    return made.stdout


def policy() -> str:
    """The sample of a policy file, as oslopolicy-sample-generator makes it."""
    generator = str(Path(sys.executable).with_name("oslopolicy-sample-generator"))
    command = [generator, "--namespace", "resumable_glance"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode or made.stderr:
        sys.exit(f"oslopolicy-sample-generator failed; is the project installed?\n{made.stderr}")
    return made.stdout


def states() -> str:
    """Which state follows which."""
    rows = [
        (f"`{state}`", f"`{event}`", EVENTS[event], f"`{following}`")
        for (state, event), following in TRANSITIONS.items()
    ]
    return NOTICE + table(("state", "event", "which means", "next state"), rows)


def meanings() -> str:
    """What each state means to a client."""
    rows = [(f"`{state}`", *STATES[state]) for state in State]
    return NOTICE + table(("state", "meaning", "what a client does"), rows)


def problems() -> str:
    """All problem types."""
    rows = [(f"`{reason}`", str(STATUS[reason]), *PROBLEMS[reason]) for reason in Reason]
    return NOTICE + table(("type, after the prefix", "status", "meaning", "what a client does"), rows)


def description() -> str:
    """The native API in OpenAPI."""
    return json.dumps(openapi.document(STATES, PROBLEMS), indent=1, ensure_ascii=False) + "\n"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(each)} |\n" for each in lines)


FILES: Mapping[Path, Callable[[], str]] = {
    DOCS / "resumable-glance.conf.sample": sample,
    DOCS / "policy.yaml.sample": policy,
    DOCS / "openapi.json": description,
    page.PAGE: page.render,
    DOCS / "_generated" / "states.md": states,
    DOCS / "_generated" / "meanings.md": meanings,
    DOCS / "_generated" / "problems.md": problems,
}


def undescribed() -> list[str]:
    """What the source has and nobody has described here."""
    missing: list[str] = [f"PROBLEMS lacks {each!r}" for each in Reason if each not in PROBLEMS]
    missing += [f"dialects/problems.STATUS lacks {each!r}" for each in Reason if each not in STATUS]
    missing += [f"STATES lacks {each!r}" for each in State if each not in STATES]
    missing += [f"EVENTS lacks {each!r}" for each in Event if each not in EVENTS]
    return missing


def drift(path: Path, text: str) -> str:
    """Where a file is not `text`, as a diff; empty if it is."""
    present = path.read_text() if path.exists() else ""
    name = str(path.relative_to(ROOT))
    lines = difflib.unified_diff(present.splitlines(), text.splitlines(), name, f"{name}, made again", lineterm="", n=1)
    return "\n".join(lines)


def main() -> int:
    """Make or check; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.generated", description="Make what is generated.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file is out of date")
    checking = parser.parse_args().check
    if missing := undescribed():
        sys.exit("In tests/generated.py: " + "; ".join(missing))
    different = {path: (text, drift(path, text)) for path, text in ((path, make()) for path, make in FILES.items())}
    status = 0
    for path, (text, difference) in different.items():
        if not difference:
            continue
        print(difference if checking else f"made {path.relative_to(ROOT)}")
        if checking:
            status = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if status:
        print("Out of date. Make it again: python3 noxfile.py -s generate", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
