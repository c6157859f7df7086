# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a log's database without the means to change it: opened read-only, one snapshot for the whole check."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from ivr.ledger.database import Database
from ivr.ledger.nodes import WIDTH
from ivr.ledger.proofs import subtree
from ivr.ledger.reading import ReadError, open_reading
from ivr.ledger.sealed import FieldOpener

_EVENTS = "SELECT seq, id, call, recording, type, time, jws, leaf FROM events ORDER BY seq"
_DISCLOSURES = "SELECT seq, digest, name, text FROM disclosures ORDER BY seq, name"
_CHECKPOINTS = "SELECT size, root, note FROM checkpoints ORDER BY size"
_NEWEST = "SELECT size, root, note FROM checkpoints ORDER BY size DESC LIMIT 1"
_COLUMNS = "SELECT seq, id, call, recording, type, time, jws, leaf FROM events"
_NODES = "SELECT hash FROM nodes WHERE level = ? AND number >= ? AND number < ? ORDER BY number"
_LEAVES = "SELECT leaf FROM events WHERE seq >= ? AND seq < ? ORDER BY seq"


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


# SQLite keeps in any column whatever is put there. Of events, what is wrong beside `seq` is for the verifier to find.
_FORMS: dict[type[NamedTuple], tuple[type, ...]] = {
    EventRow: (int,),
    DisclosureRow: (int, str, str, str),
    CheckpointRow: (int, bytes, str),
}

Row = TypeVar("Row", EventRow, DisclosureRow, CheckpointRow)


class LogSource:
    """An open snapshot. A context manager; raises SourceError for everything that keeps it from being read."""

    def __init__(self, place: Database, opener: FieldOpener | None = None) -> None:
        """With `opener`, personal fields whose secrets live are given in clear; others as they are stored."""
        self._opener = opener
        self.place = place
        try:
            self._db = open_reading(place, snapshot=True)
        except ReadError as error:
            raise SourceError(f"{place}: {error}") from None
        try:
            self._keeps_nodes = self._db.has_table("nodes")
        except ReadError as error:
            self._db.close()
            raise SourceError(f"{place}: {error}") from None

    def __enter__(self) -> "LogSource":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()
        if self._opener is not None:
            self._opener.close()  # it was given away

    @cached_property
    def events(self) -> int:
        """How many there are. Counted on demand: a long log takes a while, and a proof needs no count."""
        return int(self._all("SELECT count(*) FROM events")[0][0])

    def rows(self) -> Iterator[EventRow]:
        """The events by sequence number."""
        return self._rows(_EVENTS, EventRow)

    def disclosures(self) -> Iterator[DisclosureRow]:
        """The personal fields that have not been erased, by sequence number."""
        for row in self._rows(_DISCLOSURES, DisclosureRow):
            clear = self._opener.open(row.text) if self._opener is not None else None
            yield row if clear is None else row._replace(text=clear)

    def checkpoints(self) -> Iterator[CheckpointRow]:
        """The stored checkpoints by size."""
        return self._rows(_CHECKPOINTS, CheckpointRow)

    def rows_from(self, seq: int, end: int) -> Iterator[EventRow]:
        """The events from `seq` to `end - 1`."""
        return self._rows(f"{_COLUMNS} WHERE seq >= ? AND seq < ? ORDER BY seq", EventRow, seq, end)

    def rows_of(self, beginning: str) -> Iterator[EventRow]:
        """The events whose type begins so, as the column says."""
        return self._rows(f"{_COLUMNS} WHERE type >= ? AND type < ? ORDER BY seq", EventRow, beginning, beginning + "{")

    def event(self, reference: str) -> EventRow | None:
        """The event with this sequence number or id."""
        if reference.isdecimal():
            return self._row(f"{_COLUMNS} WHERE seq = ?", EventRow, int(reference))
        return self._row(f"{_COLUMNS} WHERE id = ?", EventRow, reference.lower())

    def newest_checkpoint(self) -> CheckpointRow | None:
        """The stored checkpoint of the largest size."""
        return self._row(_NEWEST, CheckpointRow)

    def node(self, level: int, number: int) -> bytes | None:
        """A stored subtree hash (ivr.ledger.nodes); None when it is not there."""
        return next(iter(self._nodes(level, number, 1)), None)

    def nodes(self) -> int | None:
        """How many subtree hashes are stored; None for a log from before they were kept."""
        if not self._keeps_nodes:
            return None
        return int(self._all("SELECT count(*) FROM nodes")[0][0])

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        """Hashes for proofs (ivr.ledger.proofs), derived from the leaves where they are not stored.

        None of them is proof by itself: whoever uses them compares the root they lead to with a signed one.
        """
        if level == 0:
            return [bytes(row[0]) for row in self._all(_LEAVES, start, start + count)]
        found = self._nodes(level, start, count)
        return found if len(found) == count else self._derived(level, start, count)

    def _derived(self, level: int, start: int, count: int) -> list[bytes]:
        below = (self.hashes(level - 1, number * WIDTH, WIDTH) for number in range(start, start + count))
        return [subtree(hashes) for hashes in below if len(hashes) == WIDTH]

    def _nodes(self, level: int, start: int, count: int) -> list[bytes]:
        if not self._keeps_nodes:
            return []
        return [bytes(row[0]) for row in self._all(_NODES, level, start, start + count)]

    def _rows(self, query: str, kind: type[Row], *values: object) -> Iterator[Row]:
        try:
            yield from map(self._checked(kind), self._db.each(query, values))
        except ReadError as error:
            raise SourceError(f"{self.place}: {error}") from None

    def _row(self, query: str, kind: type[Row], *values: object) -> Row | None:
        return next(map(self._checked(kind), self._all(query, *values)), None)

    def _checked(self, kind: type[Row]) -> Callable[[tuple[Any, ...]], Row]:
        forms = _FORMS[kind]

        def checked(row: tuple[Any, ...]) -> Row:
            if not all(map(isinstance, row, forms)):
                raise SourceError(f"{self.place}: a row of it has values that no log has ({row[0]!r}); it was changed")
            return kind._make(row)

        return checked

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._db.all(query, values)
        except ReadError as error:
            raise SourceError(f"{self.place}: {error}") from None
