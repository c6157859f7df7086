# SPDX-License-Identifier: GPL-3.0-or-later
"""Durable storage of the log, in SQLite or PostgreSQL. One writer; a write that returned has reached the disk."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, text, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ivr.ledger.database import Database, Postgres
from ivr.ledger.engines import Engines, open_engines
from ivr.ledger.errors import LedgerConflict, LedgerFatal, LedgerMissing
from ivr.ledger.nodes import Node
from ivr.ledger.schema import (
    CHECKPOINTS,
    DISCLOSURES,
    EVENTS,
    META,
    NODES,
    PSEUDONYMS,
    SCHEMA_VERSION,
)


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event as stored. `leaf` is the RFC 6962 leaf hash of the JWS."""

    seq: int
    id: str
    call: str | None
    recording: str | None
    type: str
    time: str
    jws: str
    leaf: bytes


@dataclass(frozen=True, slots=True)
class DisclosureRow:
    """One personal field of the event `seq`."""

    seq: int
    digest: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class PseudonymRow:
    """The keyed hash under which the personal field `name` of event `seq` is found again."""

    hmac: str
    seq: int
    name: str


@dataclass(frozen=True, slots=True)
class PersonalRow:
    """A stored personal field with what is needed to judge whether it may go. `text` may be sealed."""

    seq: int
    name: str
    text: str
    call: str | None
    time: str


@dataclass(frozen=True, slots=True)
class NamedRow:
    """An event that has a pseudonym."""

    seq: int
    name: str
    call: str | None
    type: str


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A signed checkpoint and the compact tree state it was made from."""

    size: int
    time: str
    root: bytes
    note: str
    frontier: bytes


class Store:
    """The open database: one thread writes, another may read. A second process is refused by a lock."""

    def __init__(self, place: Database, engines: Engines) -> None:
        self.place = place
        self._engines = engines
        self._guard = Lock()

    @classmethod
    def create(cls, place: Database, meta: Mapping[str, str]) -> "Store":
        """A new, empty database: a file (0600) or a schema. Raises FileExistsError when anything is there already."""
        # Alembic is loaded to make or change tables only; a ledger that runs does without.
        from ivr.ledger.create import create_file, create_schema

        if isinstance(place, Postgres):
            create_schema(place, meta)
        else:
            create_file(place, meta)
        return cls(place, open_engines(place))

    @classmethod
    def open(cls, place: Database) -> "Store":
        """Open what `create` made; never creates. Raises LedgerMissing, or LedgerFatal when it cannot be read."""
        if isinstance(place, Path) and not place.is_file():
            raise LedgerMissing(f"the log {place} is not there; it is made once with: ivr init DIR")
        store = cls(place, open_engines(place))
        try:
            store._check_schema()
        except BaseException:
            store.close()
            raise
        return store

    def _check_schema(self) -> None:
        if isinstance(self.place, Postgres) and not self._read(text("SELECT to_regclass('meta') IS NOT NULL"))[0][0]:
            raise LedgerMissing(f"{self.place} holds no log for this role; it is made once with: ivr init --database")
        version = self.meta().get("schema", "")
        if version == str(SCHEMA_VERSION):
            return
        if version.isdecimal() and int(version) < SCHEMA_VERSION:
            what = "it is older: make a backup, then run: ivr db upgrade"
        else:
            what = "a newer program made it: use that one"
        raise LedgerMissing(f"{self.place} has schema {version}, this program reads {SCHEMA_VERSION}; {what}")

    def check(self) -> None:
        """Raises LedgerFatal when nothing could be written any more. From any thread; never waits."""
        self._engines.check()

    def meta(self) -> dict[str, str]:
        """What was written at creation: schema, origin, key id."""
        return {str(row.name): str(row.value) for row in self._read(select(META))}

    def head(self) -> EventRow | None:
        """The newest event."""
        rows = self._read(select(EVENTS).order_by(EVENTS.c.seq.desc()).limit(1))
        return EventRow(**rows[0]._mapping) if rows else None

    def by_id(self, event_id: str) -> EventRow | None:
        """The event with this id."""
        rows = self._read(select(EVENTS).where(EVENTS.c.id == event_id))
        return EventRow(**rows[0]._mapping) if rows else None

    def newest_checkpoint(self) -> CheckpointRow | None:
        """The checkpoint of the largest size."""
        rows = self._read(select(CHECKPOINTS).order_by(CHECKPOINTS.c.size.desc()).limit(1))
        return CheckpointRow(**rows[0]._mapping) if rows else None

    def nodes(self) -> int:
        """How many stored subtree hashes there are."""
        return int(self._read(select(func.count()).select_from(NODES))[0][0])

    def leaves(self, first: int, end: int) -> Iterator[bytes]:
        """The leaf hashes of the events from `first` to `end - 1`, a thousand at a time."""
        for start in range(first, end, 1024):
            query = select(EVENTS.c.leaf).where(EVENTS.c.seq >= start, EVENTS.c.seq < min(start + 1024, end))
            for row in self._read(query.order_by(EVENTS.c.seq)):
                yield bytes(row.leaf)

    def since(self, seq: int) -> Iterator[EventRow]:
        """The events from `seq` on, in order."""
        for row in self._read(select(EVENTS).where(EVENTS.c.seq >= seq).order_by(EVENTS.c.seq)):
            yield EventRow(**row._mapping)

    def of_types(self, types: Sequence[str], *, since: str = "") -> list[EventRow]:
        """The events of these types, in order; `since` is a time as in events."""
        query = select(EVENTS).where(EVENTS.c.type.in_(types), EVENTS.c.time >= since)
        return [EventRow(**row._mapping) for row in self._read(query.order_by(EVENTS.c.seq))]

    def asked(self, calls: Sequence[str]) -> set[str]:
        """Those of these calls that came to a consent step."""
        found: set[str] = set()
        for start in range(0, len(calls), 500):
            part = calls[start : start + 500]
            query = select(EVENTS.c.call).where(EVENTS.c.call.in_(part), EVENTS.c.type == "consent.asked")
            found |= {str(row.call) for row in self._read(query)}
        return found

    def newest_disclosures(self, limit: int) -> list[str]:
        """The texts of the newest personal fields, as stored."""
        query = select(DISCLOSURES.c.text).order_by(DISCLOSURES.c.seq.desc()).limit(limit)
        return [str(row.text) for row in self._read(query)]

    def personal(self, fields: Sequence[tuple[int, str | None]]) -> list[PersonalRow]:
        """Those of these fields that are still there; a name of None stands for all of its event."""
        wanted: dict[int, set[str | None]] = {}
        for seq, name in fields:
            wanted.setdefault(seq, set()).add(name)
        found: list[PersonalRow] = []
        for part in _parts(sorted(wanted)):
            query = select(DISCLOSURES.c.seq, DISCLOSURES.c.name, DISCLOSURES.c.text, EVENTS.c.call, EVENTS.c.time)
            query = query.join(EVENTS, EVENTS.c.seq == DISCLOSURES.c.seq).where(DISCLOSURES.c.seq.in_(part))
            rows = self._read(query.order_by(DISCLOSURES.c.seq, DISCLOSURES.c.name))
            found += [PersonalRow(**row._mapping) for row in rows if wanted[row.seq] & {None, row.name}]
        return found

    def by_pseudonym(self, hashes: Sequence[str]) -> list[NamedRow]:
        """The events indexed under these pseudonyms, in order."""
        return self._named(PSEUDONYMS.c.hmac.in_(hashes))

    def pseudonyms(self, seq: int, name: str) -> list[str]:
        """Those under which this field of this event is found."""
        query = select(PSEUDONYMS.c.hmac).where(PSEUDONYMS.c.seq == seq, PSEUDONYMS.c.name == name)
        return [row.hmac for row in self._read(query)]

    def sharing_pseudonym(self, seqs: Sequence[int]) -> list[NamedRow]:
        """The events that name somebody whom one of the events `seqs` names, those themselves among them."""
        return self._named(PSEUDONYMS.c.hmac.in_(select(PSEUDONYMS.c.hmac).where(PSEUDONYMS.c.seq.in_(seqs))))

    def _named(self, condition: Any) -> list[NamedRow]:
        query = select(PSEUDONYMS.c.seq, PSEUDONYMS.c.name, EVENTS.c.call, EVENTS.c.type)
        query = query.join(EVENTS, EVENTS.c.seq == PSEUDONYMS.c.seq).where(condition)
        return [NamedRow(**row._mapping) for row in self._read(query.order_by(PSEUDONYMS.c.seq))]

    def unfinished(self) -> list[EventRow]:
        """All events of the calls that neither ended nor were lost, or whose recordings never stopped, in order."""
        received = select(EVENTS.c.call).where(EVENTS.c.type == "call.received")
        over = select(EVENTS.c.call).where(EVENTS.c.type.in_(["call.ended", "call.lost"]))
        # From the permit on: a recorder may open, and say so, after the call.
        permits = select(EVENTS.c.recording).where(EVENTS.c.type == "recording.permitted")
        stopped = select(EVENTS.c.recording).where(EVENTS.c.type == "recording.stopped")
        running = select(EVENTS.c.call).where(EVENTS.c.recording.in_(permits.except_(stopped)))
        query = select(EVENTS).where(or_(EVENTS.c.call.in_(received.except_(over)), EVENTS.c.call.in_(running)))
        return [EventRow(**row._mapping) for row in self._read(query.order_by(EVENTS.c.seq))]

    def write(
        self,
        events: Sequence[EventRow],
        disclosures: Sequence[DisclosureRow] = (),
        pseudonyms: Sequence[PseudonymRow] = (),
        checkpoint: CheckpointRow | None = None,
        nodes: Sequence[Node] = (),
        meta: Mapping[str, str] | None = None,
        gone: Sequence[PersonalRow] = (),
        gone_pseudonyms: Sequence[str] = (),
    ) -> None:
        """All of it in one transaction, on disk when this returns. Raises LedgerFatal: then stop."""
        try:
            with self._engines.writing() as connection:
                _insert(connection, EVENTS, events)
                _insert(connection, DISCLOSURES, disclosures)
                _insert(connection, PSEUDONYMS, pseudonyms)
                _insert(connection, CHECKPOINTS, [checkpoint] if checkpoint else [])
                _insert(connection, NODES, nodes)
                _delete(connection, gone, gone_pseudonyms)
                for name, value in (meta or {}).items():
                    connection.execute(update(META).where(META.c.name == name).values(value=value))
        except IntegrityError as error:
            raise _refused(error, self.place) from None
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise LedgerFatal(f"{self.place} cannot be written: {_cause(error)}") from error

    def replace_nodes(self, nodes: Sequence[Node]) -> None:
        """Put these subtree hashes in the place of all that are stored. Raises LedgerFatal."""
        try:
            with self._engines.writing() as connection:
                connection.execute(delete(NODES))
                _insert(connection, NODES, nodes)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise LedgerFatal(f"{self.place} cannot be written: {_cause(error)}") from error

    def close(self) -> None:
        """Release the database and its lock."""
        self._engines.close()

    def _read(self, query: Any) -> Sequence[Any]:
        try:
            with self._guard, self._engines.reader.connect() as connection:
                return connection.execute(query).all()
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise LedgerFatal(f"{self.place} cannot be read: {_cause(error)}") from error


def _insert(connection: Connection, table: Any, rows: Sequence[Any]) -> None:
    if rows:
        names = table.c.keys()
        connection.execute(insert(table), [{name: getattr(row, name) for name in names} for row in rows])


def _delete(connection: Connection, gone: Sequence[PersonalRow], hashes: Sequence[str]) -> None:
    """Personal fields with the pseudonyms made of them, and every pseudonym of somebody who is forgotten."""
    for table in (DISCLOSURES, PSEUDONYMS):
        for row in gone:
            connection.execute(delete(table).where(table.c.seq == row.seq, table.c.name == row.name))
    if hashes:
        connection.execute(delete(PSEUDONYMS).where(PSEUDONYMS.c.hmac.in_(hashes)))


def _parts(values: Sequence[int], size: int = 500) -> Iterator[Sequence[int]]:
    # SQLite takes a limited number of parameters.
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _refused(error: IntegrityError, place: Database) -> LedgerConflict | LedgerFatal:
    """An id that is there already is the event's own mistake; a place that is taken means that somebody else writes."""
    cause = _cause(error)
    if "events.id" in cause or "events_id_key" in cause:
        return LedgerConflict(f"{place}: {cause}")
    return LedgerFatal(f"{place} was changed by somebody else: {cause}")


def _cause(error: BaseException) -> str:
    original = getattr(error, "orig", None)
    return " ".join(str(original or error).split())
