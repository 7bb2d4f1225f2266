"""All states of a strict disk after a power cut, derived from its log. Pure.

Synced data is there. Each unsynced name, size and sector may be there or not, independently of the others; a sector
that was written several times may hold any of these writes.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import cast

from tests.reliability.strict_disk import Event, Forgotten, Named, NamesSynced, Node, Sized, Synced, Written, begun

SECTOR = 64  # bytes: small, so that small uploads have many
_MANY = 4  # writes to one sector that are combined in every way


@dataclass(slots=True)
class _Stored:
    """The durable content of a file, and its changes since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Written | Sized] = field(default_factory=list)

    def settle(self) -> None:
        for each in self.pending:
            if isinstance(each, Sized):
                self.durable[each.size :] = bytes(max(0, each.size - len(self.durable)))
            else:
                self.durable[each.position : each.position + len(each.data)] = each.data
        self.pending.clear()

    def sizes(self) -> list[int]:
        later = [each.size for each in self.pending if isinstance(each, Sized)]
        return list(dict.fromkeys([len(self.durable), *later]))

    def sectors(self) -> dict[int, list[bytes]]:
        """Return the possible contents of each written sector, by its position."""
        touching: dict[int, list[Written]] = {}
        for each in self.pending:
            if isinstance(each, Written):
                first = each.position // SECTOR * SECTOR
                for start in range(first, each.position + len(each.data), SECTOR):
                    touching.setdefault(start, []).append(each)
        return {start: self._versions(start, writes) for start, writes in touching.items()}

    def _versions(self, start: int, writes: list[Written]) -> list[bytes]:
        before = bytes(self.durable[start : start + SECTOR]).ljust(SECTOR, b"\0")
        if len(writes) <= _MANY:
            combinations = [list(itertools.compress(writes, kept)) for kept in _subsets(len(writes))]
        else:
            combinations = [writes[:count] for count in range(len(writes) + 1)] + [[each] for each in writes]
        return list(dict.fromkeys(_sector(start, before, each) for each in combinations))


def _subsets(count: int) -> Iterator[tuple[bool, ...]]:
    return itertools.product((False, True), repeat=count)


def _sector(start: int, before: bytes, writes: Sequence[Written]) -> bytes:
    data = bytearray(before)
    for each in writes:
        first, last = max(start, each.position), min(start + SECTOR, each.position + len(each.data))
        data[first - start : last - start] = each.data[first - each.position : last - each.position]
    return bytes(data)


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that a power cut decides: the node of a name, the size of a file, or the content of a sector."""

    options: Sequence[object]
    name: str | None = None
    node: Node | None = None
    sector: int | None = None


class Aftermath:
    """The possible states of a disk that began with `names`, all durable. Feed it each event of the disk's log."""

    def __init__(self, names: Mapping[str, Node] | None = None) -> None:
        names = names or begun()
        self.names: dict[str, list[Node | None]] = {name: [node] for name, node in names.items()}
        self.files = {node: _Stored(bytearray(node.data)) for node in names.values() if not node.is_directory}

    def happen(self, event: Event) -> None:
        match event:
            case Written() | Sized():
                self.files.setdefault(event.node, _Stored()).pending.append(event)
            case Synced():
                self.files.setdefault(event.node, _Stored()).settle()
            case Forgotten():
                self.files.setdefault(event.node, _Stored()).pending.clear()
            case Named():
                self.names.setdefault(event.path, [None]).append(event.node)
            case NamesSynced():
                for path, nodes in self.names.items():
                    if str(PurePosixPath(path).parent) == event.directory:
                        nodes[:-1] = []

    def choices(self) -> list[Choice]:
        found = []
        for name, nodes in self.names.items():
            if len(nodes) > 1:
                found.append(Choice(list(dict.fromkeys(nodes)), name=name))
        for node, stored in self.files.items():
            if stored.pending:
                found.append(Choice(stored.sizes(), node=node))
                found += [Choice(each, node=node, sector=start) for start, each in stored.sectors().items()]
        return [each for each in found if len(each.options) > 1]


def count(choices: Sequence[Choice]) -> int:
    return math.prod(len(each.options) for each in choices)


def states(choices: Sequence[Choice], limit: int, chance: random.Random) -> Iterator[list[object]]:
    """Yield the options that the choices take, for all states, or for `limit` different ones if there are more."""
    total = count(choices)
    for number in range(total) if total <= limit else _some(total, limit, chance):
        taken, rest = [], number
        for each in choices:
            rest, index = divmod(rest, len(each.options))
            taken.append(each.options[index])
        yield taken


def _some(total: int, limit: int, chance: random.Random) -> list[int]:
    found = dict.fromkeys([0, total - 1])  # nothing and all of what is pending
    while len(found) < limit:
        found[chance.randrange(total)] = None
    return list(found)


def left(aftermath: Aftermath, choices: Sequence[Choice], taken: Sequence[object]) -> dict[str, Node]:
    """Return the names and files of one state, for a new disk to begin with."""
    chosen = list(zip(choices, taken, strict=True))
    nodes = {name: options[0] for name, options in aftermath.names.items()}
    nodes |= {each.name: node for each, node in chosen if each.name is not None}  # type: ignore[misc]
    made: dict[str, Node] = {}
    for name, node in sorted(nodes.items()):
        if node is None or (name != "/" and str(PurePosixPath(name).parent) not in made):
            continue
        mine = [(each, option) for each, option in chosen if each.node is node]
        made[name] = Node(node.is_directory, bytearray() if node.is_directory else content(aftermath, node, mine))
    return made


def content(aftermath: Aftermath, node: Node, chosen: Sequence[tuple[Choice, object]]) -> bytearray:
    """Return the bytes of one file in one state; `chosen` are the decisions about it."""
    data = bytearray(aftermath.files[node].durable if node in aftermath.files else b"")
    size = len(data)
    for choice, option in chosen:
        if choice.sector is None:
            size = cast("int", option)
        else:
            if len(data) < choice.sector:
                data.extend(bytes(choice.sector - len(data)))
            data[choice.sector : choice.sector + SECTOR] = cast("bytes", option)
    data[size:] = bytes(max(0, size - len(data)))
    return data
