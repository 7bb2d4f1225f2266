"""The sabotages of the trials on the strict disk: each line that keeps bytes safe, left out or moved."""

from __future__ import annotations

from tests.reliability.trial import Sabotage

LOCAL = "storage/local.py"


def left_out(what: str, file: str, line: str, count: int, after: str = "") -> Sabotage:
    """Return a sabotage that removes one line; `after` is kept before it."""
    return Sabotage(what, file, f"{after}{line}\n", after, count)


def instead(what: str, file: str, old: str, new: str, count: int) -> Sabotage:
    return Sabotage(what, file, old, new, count)


def swapped(what: str, file: str, first: str, second: str, count: int) -> Sabotage:
    """Return a sabotage that swaps two lines."""
    return Sabotage(what, file, f"{first}\n{second}\n", f"{second}\n{first}\n", count)


CRASH_STATES = (
    left_out(
        "a new file is not flushed", LOCAL, "        os.fsync(descriptor)", 10_000,
        after="        os.ftruncate(descriptor, size)\n",
    ),
    left_out(
        "the name of a new file is not flushed", LOCAL, "    sync_directory(path.parent)", 10_000,
        after="        os.close(descriptor)\n",
    ),
    instead(
        "the removal of a name is not flushed", LOCAL,
        "    sync_directory(path.parent)  # in any case", "    # in any case", 30_000,
    ),
    instead(
        "the names of new directories are not flushed", "runtime/durable.py",
        "        sync_directory(directory.parent)", "        pass", 10_000,
    ),
    instead("a directory is opened, but not flushed", "runtime/durable.py", "os.fsync(descriptor)", "pass", 10_000),
    instead("data is not flushed", LOCAL, "await _to_its_end(_fdatasync(self._descriptor))", "pass", 10_000),
    swapped(
        "the catalog names bytes before they are flushed", "uploads/chunk_writer.py",
        "            await self._file.sync()", "            await self._commit_extents(extents)", 10_000,
    ),
    instead(
        "bytes left by an interrupted chunk are taken for declared zeros", LOCAL,
        "    stop = position + length\n    while", "    stop = position + length\n    while False and", 10_000,
    ),
    swapped(
        "the catalog names zeros before they are flushed", "uploads/chunk_writer.py",
        "        await file.sync()", "        await commit([Extent(each, ZEROS) for each in new])", 10_000,
    ),
    instead(
        "an upload is recorded before it has a file", "uploads/create.py",
        "                await self.storage.create(upload.id",
        "                await self.uploads.add(upload, credential, key)\n"
        "                await self.storage.create(upload.id, upload.size or 0)\n"
        "                return upload\n"
        "                await self.storage.create(upload.id", 10_000,
    ),
    left_out(
        "an image is not recorded before it is made", "uploads/image_preparation.py",
        "        await self.orphans.expect(expected, now, due_at=now + CREATION_TIMEOUT)", 100_000,
    ),
    instead(
        "scratch is freed before the image is verified", "handoff/worker.py",
        "            ended = await self.walk.run(",
        "            await self.free(started)\n            ended = await self.walk.run(", 10_000,
    ),
    instead(
        "scratch is never freed after a handoff", "handoff/worker.py",
        "await self.free(ended)", "pass", 10_000,
    ),
    instead(
        "a declared digest of the whole is not compared", "handoff/proving.py",
        "if mismatches := reader.mismatches():", "if mismatches := reader.mismatches()[:0]:", 30_000,
    ),
    instead(
        "a cancelled upload loses its bytes before the catalog says so", "uploads/cleanup.py",
        "        await self.catalog.uploads.end(upload.id, Event.CANCELLED",
        "        await self.clear(upload)\n"
        "        await self.catalog.uploads.end(upload.id, Event.CANCELLED", 30_000,
    ),
    instead(
        "an expired upload loses its bytes before the catalog says so", "uploads/cleanup.py",
        "            if not self.locks.held(upload.id) and",
        "            await self.storage.remove(upload.id)\n            if not self.locks.held(upload.id) and", 60_000,
    ),
    instead("a start removes all scratch", "uploads/cleanup.py", "if name not in needed:", "if name:", 20_000),
    instead(
        "a start leaves files that no upload needs", "uploads/cleanup.py",
        "if name not in needed:", "if not name:", 60_000,
    ),
    instead(
        "a thread is not waited for when its request is cancelled", LOCAL,
        "while not task.done():", "while False:", 30_000,
    ),
    instead(
        "a write is not waited for once the hash beside it was cancelled", "uploads/chunk_writer.py",
        "            await put(data)\n        finally:\n            await hashing\n",
        "            await asyncio.gather(put(data), hashing)\n        finally:\n            pass\n", 250_000,
    ),
    left_out(
        "the digest of a chunk is not compared", "uploads/chunk_writer.py",
        "        check_digests(self._declared, self._chunk.declared)", 30_000,
    ),
    instead(
        "a chunk with a digest is recorded before all of it came", "uploads/chunk_writer.py",
        "return not self._chunk.declared and not any(", "return not any(", 30_000,
    ),
    instead(
        "an interrupted chunk with a digest is kept in part", "uploads/chunk_writer.py",
        "in _INTERRUPTIONS and not self._chunk.declared:", "in _INTERRUPTIONS:", 100_000,
    ),
)  # fmt: skip

IO_FAULTS = (
    instead(
        "the rest of a short write is not written", LOCAL,
        "        rest = rest[written:]\n", "        rest = rest[len(rest) :]\n", 40,
    ),
    instead(
        "a failed flush is retried", LOCAL,
        "    os.fdatasync(descriptor)\n",
        "    with contextlib.suppress(OSError):\n        os.fdatasync(descriptor)\n        return\n"
        "    os.fdatasync(descriptor)\n", 40,
    ),
    instead(
        "a failure of scratch is not turned into a refusal", "uploads/service.py",
        "        except (OSError, EOFError) as problem:  # of", "        except EOFError as problem:  # of", 20,
    ),
    instead(
        "a start takes existing directories for durable", "runtime/durable.py",
        "isdir(directory)\n", "isdir(directory)\n    if there:\n        return\n", 60,
    ),
    instead("a failed flush is taken for a success", LOCAL,
        "    os.fdatasync(descriptor)\n",
        "    with contextlib.suppress(OSError):\n        os.fdatasync(descriptor)\n", 40,
    ),
    instead(
        "a failing catalog is not reported as a failing disk", "catalog/transactions.py",
        "return problem if number is None else", "return problem if number else", 20,
    ),
)  # fmt: skip
FLIPS = (
    instead(
        "an extent's digest is not compared", "handoff/reader.py",
        "self._hasher.digest() != extent.check.value:", "self._hasher.digest() == b\"\":", 40,
    ),
    instead(
        "repeated bytes are not compared with the durable ones", "uploads/chunk_writer.py",
        "if await self._file.read(self._position, len(data)) != data:",
        "if len(await self._file.read(self._position, len(data))) != len(data):", 60,
    ),
    instead(
        "a difference is ignored where a digest was declared", "uploads/chunk_writer.py",
        "        if self._differs:\n", "        if not self._chunk:\n", 100,
    ),
)  # fmt: skip
