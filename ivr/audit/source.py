# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a log's database without the means to change it: SQLite opened read-only, one snapshot for the whole check."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

_EVENTS = "SELECT seq, id, call, recording, type, time, jws, leaf FROM events ORDER BY seq"
_DISCLOSURES = "SELECT seq, digest, name, text FROM disclosures ORDER BY seq, name"
_CHECKPOINTS = "SELECT size, root, note FROM checkpoints ORDER BY size"


class SourceError(Exception):
    """The database cannot be read at all: nothing can be said about it."""


class EventRow(NamedTuple):
    """One row of events. What stands beside `jws` is for searching only and proves nothing."""

    seq: int
    id: str
    call: str | None
    recording: str | None
    type: str
    time: str
    jws: str
    leaf: bytes


class DisclosureRow(NamedTuple):
    """One personal field of event `seq`."""

    seq: int
    digest: str
    name: str
    text: str


class CheckpointRow(NamedTuple):
    """One stored checkpoint."""

    size: int
    root: bytes
    note: str


Row = TypeVar("Row", EventRow, DisclosureRow, CheckpointRow)


class LogSource:
    """An open snapshot. A context manager; raises SourceError for everything that keeps it from being read."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise SourceError(f"{path}: no such file")
        self.path = path
        # A database in use has its newest events in the -wal file; only without one is `immutable` true.
        beside = any(path.with_name(path.name + end).exists() for end in ("-wal", "-shm"))
        mode = "mode=ro" if beside else "mode=ro&immutable=1"
        try:
            self._db = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise SourceError(f"{path}: {error}") from None
        try:
            self._db.execute("PRAGMA query_only=ON")
            self._db.execute("BEGIN")
            self.events = int(self._db.execute("SELECT count(*) FROM events").fetchone()[0])
        except sqlite3.Error as error:
            self._db.close()
            raise SourceError(
                f"{path}: {error} (copy the -wal file too, or use a copy made with sqlite3 .backup)"
            ) from None

    def __enter__(self) -> "LogSource":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def rows(self) -> Iterator[EventRow]:
        """The events by sequence number."""
        return self._rows(_EVENTS, EventRow)

    def disclosures(self) -> Iterator[DisclosureRow]:
        """The personal fields that have not been erased, by sequence number."""
        return self._rows(_DISCLOSURES, DisclosureRow)

    def checkpoints(self) -> Iterator[CheckpointRow]:
        """The stored checkpoints by size."""
        return self._rows(_CHECKPOINTS, CheckpointRow)

    def _rows(self, query: str, kind: type[Row]) -> Iterator[Row]:
        try:
            yield from map(kind._make, self._db.execute(query))
        except sqlite3.Error as error:
            raise SourceError(f"{self.path}: {error}") from None
