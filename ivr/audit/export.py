# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a log as C2SP tlog-tiles: static files that any web server can serve. No personal data is in them.

The checkpoint is replaced last, when all it needs is on disk: who reads the folder at any moment, or after a crash,
finds a checkpoint and every tile of it.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr.audit.source import CheckpointRow, LogSource, SourceError
from ivr.audit.tiles import CHECKPOINT, ENTRIES, TileFolder, bundle, tile_path
from ivr.ledger.event import MAX_JWS
from ivr.ledger.nodes import HEIGHT, WIDTH
from ivr.ledger.note import Checkpoint, NoteError, VKey, open_checkpoint
from ivr.ledger.proofs import ProofError, Tree, subtree
from ivr.ledger.tree import leaf_hash

_LIBC = ctypes.CDLL(None, use_errno=True)


class ExportRefused(Exception):
    """The log is not what its checkpoint says, or not the log that the folder was made from. Nothing was published."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was done: the size before and now, and how many files were written."""

    before: int
    size: int
    files: int


def export(
    source: LogSource,
    keys: Sequence[VKey],
    folder: Path,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Exported:
    """Bring `folder` up to the newest stored checkpoint. `keys` are those that may have signed it.

    Raises ExportRefused, SourceError (cannot be read) or OSError (cannot be written).
    """
    newest = source.newest_checkpoint()
    if newest is None:
        raise SourceError(f"{source.place} holds no checkpoint")
    try:
        checkpoint = _signed(newest.note, keys, "the newest checkpoint")
        if (checkpoint.size, checkpoint.root) != (newest.size, Tree(source, newest.size).root()):
            raise ProofError(f"the events do not give the root of checkpoint {newest.size}")
        before = _published(source, keys, folder, newest)
    except ProofError as error:
        raise ExportRefused(f"{error}; run: ivr log verify") from None
    writer = _Writer(folder)
    if before != newest.size:
        _entries(source, writer, before, newest.size, on_progress)
        _upper_tiles(source, writer, before, newest.size)
        writer.settle()
    # Also when nothing is new: cosignatures may have been added to the note.
    writer.publish(newest.note)
    _drop_partial(folder, before, newest.size)
    return Exported(before, newest.size, writer.files)


def _published(source: LogSource, keys: Sequence[VKey], folder: Path, newest: CheckpointRow) -> int:
    """The size that the folder has; this log must extend it."""
    if not folder.exists() or not (folder / CHECKPOINT).exists():
        others = [path.name for path in folder.iterdir() if path.name != "tile"] if folder.exists() else []
        if others:
            raise ExportRefused(f"{folder} holds {others[0]} and no checkpoint: it is no export. Name another folder")
        return 0
    old = TileFolder(folder).checkpoint
    _signed((folder / CHECKPOINT).read_text("utf-8"), keys, f"{folder / CHECKPOINT}")
    if old.size > newest.size:
        raise ExportRefused(
            f"{folder} has {old.size} events, the log {newest.size}: the log was cut, or is an old copy"
        )
    if Tree(source, old.size).root() != old.root:
        raise ExportRefused(
            f"the log does not extend the checkpoint of {old.size} events in {folder}: it was rewritten"
        )
    return old.size


def _signed(note: str, keys: Sequence[VKey], what: str) -> Checkpoint:
    wrong = ""
    for key in keys:
        try:
            return open_checkpoint(note, key)
        except NoteError as error:
            wrong = str(error)
    raise ExportRefused(f"{what}: {wrong or 'no key to check it with'}")


def _entries(
    source: LogSource, writer: "_Writer", before: int, size: int, on_progress: Callable[[int, int], None]
) -> None:
    """Entry bundles and the leaf tiles over them, from the last one that was not full."""
    start = before // WIDTH * WIDTH
    entries: list[bytes] = []
    done = start
    for row in source.rows_from(start, size):
        if row.seq != done or not isinstance(row.jws, str) or len(row.jws) > MAX_JWS:
            raise ExportRefused(f"event {done} is missing or is none; run: ivr log verify")
        entries.append(row.jws.encode())
        done += 1
        if len(entries) == WIDTH or done == size:
            _leaf_tile(source, writer, (done - 1) // WIDTH, entries)
            entries.clear()
            on_progress(done - start, size - start)
    if done != size:
        raise ExportRefused(f"event {done} is missing; run: ivr log verify")


def _leaf_tile(source: LogSource, writer: "_Writer", number: int, entries: Sequence[bytes]) -> None:
    leaves = [leaf_hash(entry) for entry in entries]
    # The stored hashes led to the signed root; these must be the same, all the way up.
    if leaves != source.hashes(0, number * WIDTH, len(leaves)):
        raise ExportRefused(f"events {number * WIDTH} and on are not those of the tree; run: ivr log verify")
    writer.write(tile_path(ENTRIES, number, len(entries)), bundle(entries))
    _tile(source, writer, 0, number, leaves)


def _upper_tiles(source: LogSource, writer: "_Writer", before: int, size: int) -> None:
    level = 1
    while end := size >> (level * HEIGHT):
        for number in range((before >> (level * HEIGHT)) // WIDTH, -(-end // WIDTH)):
            hashes = source.hashes(level, number * WIDTH, min(WIDTH, end - number * WIDTH))
            _tile(source, writer, level, number, hashes)
        level += 1


def _tile(source: LogSource, writer: "_Writer", level: int, number: int, hashes: Sequence[bytes]) -> None:
    if len(hashes) == WIDTH and source.hashes(level + 1, number, 1) != [subtree(hashes)]:
        raise ExportRefused(f"a stored hash of level {level + 1} is not that of its tree; run: ivr log verify")
    writer.write(tile_path(level, number, len(hashes)), b"".join(hashes))


def _drop_partial(folder: Path, before: int, size: int) -> None:
    """Partial tiles of the checkpoint that was there before, once a full tile holds the same."""
    level: int | str = ENTRIES
    for height in (0, *range(0, 64, HEIGHT)):
        old = before >> height
        number, width = divmod(old, WIDTH)
        if width and size >> height >= (number + 1) * WIDTH:
            path = folder / tile_path(level, number, width)
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        level = 0 if level == ENTRIES else int(level) + 1


class _Writer:
    """Puts files into the folder, each whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: set[Path] = set()
        self.files = 0

    def write(self, path: Path, content: bytes) -> None:
        place = self._folder / path
        if place.parent not in self._made:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._made = {place.parent}
        self._replace(place, content, sync=False)
        self.files += 1

    def settle(self) -> None:
        """Everything written so far is on disk when this returns: one call for all, not one for each of the files."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if _LIBC.syncfs(folder) != 0:
                raise OSError(ctypes.get_errno(), "cannot be written to disk", str(self._folder))
        finally:
            os.close(folder)

    def publish(self, note: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        place = self._folder / CHECKPOINT
        if place.exists() and place.read_text("utf-8") == note:
            return
        self._replace(place, note.encode(), sync=True)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _replace(self, place: Path, content: bytes, *, sync: bool) -> None:
        part = place.with_name(f".{place.name}.part")
        with part.open("wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(place)


__all__ = ["ExportRefused", "Exported", "ProofError", "export"]
