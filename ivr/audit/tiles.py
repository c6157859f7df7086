# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an exported log (C2SP tlog-tiles): where each tile is, and reading them again."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from ivr.audit.source import CheckpointRow, DisclosureRow, EventRow, SourceError
from ivr.ledger.event import EventError, peek
from ivr.ledger.nodes import HEIGHT, WIDTH, complete
from ivr.ledger.note import Checkpoint, NoteError, note_text
from ivr.ledger.proofs import subtree

CHECKPOINT = "checkpoint"
ENTRIES = "entries"
_LENGTH = struct.Struct(">H")


def tile_path(level: int | str, number: int, width: int = WIDTH) -> Path:
    """Where a tile is, relative to the folder. `level` is a number or `entries`; a full tile is 256 wide."""
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03d}")
    path = Path("tile", str(level), *reversed(groups))
    return path if width == WIDTH else path.with_name(f"{path.name}.p") / str(width)


def bundle(entries: Iterable[bytes]) -> bytes:
    """Entries as one file: each after its length in two bytes, big-endian."""
    return b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)


def unbundle(raw: bytes) -> list[bytes]:
    """The entries of a bundle. Raises ValueError when it does not end with an entry."""
    entries: list[bytes] = []
    place = 0
    while place < len(raw):
        if len(raw) - place < _LENGTH.size:
            raise ValueError("the bundle ends inside a length")
        (length,) = _LENGTH.unpack_from(raw, place)
        place += _LENGTH.size + length
        if place > len(raw):
            raise ValueError("the bundle ends inside an entry")
        entries.append(raw[place - length : place])
    return entries


class TileFolder:
    """An exported log, up to the checkpoint in its folder: gives the hashes for proofs and the events to verify.

    Answers what LogSource answers. Nothing of it is believed: verification compares it with the signed checkpoint.
    """

    def __init__(self, path: Path) -> None:
        """Raises SourceError when there is no readable checkpoint."""
        self.path = path
        try:
            self._note = (path / CHECKPOINT).read_text("utf-8")
            self.checkpoint = Checkpoint.parse(note_text(self._note))
        except (OSError, UnicodeDecodeError, NoteError) as error:
            raise SourceError(f"{path / CHECKPOINT}: {error}: is this a folder made by: ivr log export?") from None
        self.events = self.checkpoint.size

    def __enter__(self) -> "TileFolder":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def rows(self) -> Iterator[EventRow]:
        """The events by sequence number. The columns come from the events themselves, the leaf from its tile."""
        yield from self.rows_from(0, self.events)

    def rows_from(self, seq: int, end: int) -> Iterator[EventRow]:
        """The events from `seq` to `end - 1`."""
        for number in range(seq // WIDTH, -(-end // WIDTH)):
            start = number * WIDTH
            entries = self._entries(number)
            leaves = self.hashes(0, start, len(entries))
            for at, (entry, leaf) in enumerate(zip(entries, leaves, strict=True), start):
                if seq <= at < end:
                    yield _row(at, entry, leaf)

    def rows_of(self, beginning: str) -> Iterator[EventRow]:
        """The events whose type begins so; reads the whole folder."""
        return (row for row in self.rows() if row.type.startswith(beginning))

    def event(self, reference: str) -> EventRow | None:
        """The event with this sequence number; with an id, the whole folder is read."""
        if reference.isdecimal():
            return (
                next(self.rows_from(int(reference), int(reference) + 1), None) if int(reference) < self.events else None
            )
        return next((row for row in self.rows() if row.id == reference.lower()), None)

    def disclosures(self) -> Iterator[DisclosureRow]:
        """None: an export holds no personal data."""
        return iter(())

    def checkpoints(self) -> Iterator[CheckpointRow]:
        """The one checkpoint."""
        yield CheckpointRow(self.checkpoint.size, self.checkpoint.root, self._note)

    def newest_checkpoint(self) -> CheckpointRow:
        """The one checkpoint."""
        return next(self.checkpoints())

    def node(self, level: int, number: int) -> bytes | None:
        """A subtree hash from its tile, None when it is not there."""
        try:
            return self.hashes(level, number, 1)[0]
        except (SourceError, IndexError):
            return None

    def nodes(self) -> int:
        """As many as a log of this length has: files beyond those are nobody's concern."""
        return complete(self.events)

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        """Hashes of one tile. Raises SourceError."""
        raw = self._read(level, start // WIDTH, (self.events >> (level * HEIGHT)) - start // WIDTH * WIDTH)
        first = start % WIDTH
        if len(raw) % 32 or len(raw) < (first + count) * 32:
            raise SourceError(f"{self.path}: level {level}: the tile that begins with hash {start} is too short")
        return [raw[at * 32 : at * 32 + 32] for at in range(first, first + count)]

    def _entries(self, number: int) -> list[bytes]:
        width = min(WIDTH, self.events - number * WIDTH)
        try:
            entries = unbundle(self._read(ENTRIES, number, width))
        except ValueError as error:
            raise SourceError(f"{self.path / tile_path(ENTRIES, number, width)}: {error}") from None
        if len(entries) < width:
            raise SourceError(f"{self.path / tile_path(ENTRIES, number, width)}: {len(entries)} entries, not {width}")
        return entries[:width]

    def _read(self, level: int | str, number: int, width: int) -> bytes:
        # A partial tile may have gone once the full one was there.
        for wide in dict.fromkeys((min(width, WIDTH), WIDTH)):
            path = self.path / tile_path(level, number, wide)
            try:
                return path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SourceError(f"{path}: {error.strerror}") from None
        raise SourceError(f"{self.path / tile_path(level, number, min(width, WIDTH))}: no such file")


def _row(seq: int, entry: bytes, leaf: bytes) -> EventRow:
    text = entry.decode("ascii", "replace")
    try:
        event = peek(text)
    except EventError:
        # What is no event is handed on as it is; verification says so, and where.
        return EventRow(seq, "", None, None, "", "", text, leaf)
    recording = event.data.get("recording")
    return EventRow(
        seq, event.id, event.call, recording if isinstance(recording, str) else None, event.type, event.time, text, leaf
    )


def tile_root(raw: bytes) -> bytes:
    """The root over a full hash tile."""
    return subtree([raw[at : at + 32] for at in range(0, len(raw), 32)])
