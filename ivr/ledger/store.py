# SPDX-License-Identifier: GPL-3.0-or-later
"""Durable storage of the log. One writer; a write that returned has reached the disk (WAL, synchronous=FULL)."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, delete, event, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from ivr.ledger.errors import LedgerConflict, LedgerFatal, LedgerMissing
from ivr.ledger.nodes import Node
from ivr.ledger.schema import (
    CHECKPOINTS,
    DISCLOSURES,
    EVENTS,
    META,
    METADATA,
    NODES,
    PSEUDONYMS,
    SCHEMA_VERSION,
)

# Deleted disclosures are overwritten, not only unlinked from their page: erasure means gone.
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON", "busy_timeout=5000")


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
    """The open database: one thread writes, another may read. A second process is refused by a lock file."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._engine = _engine(path)
        self._reader = _engine(path)
        self._guard = Lock()
        self._lock = lock

    @classmethod
    def create(cls, path: Path, meta: dict[str, str]) -> "Store":
        """A new, empty database (0600). Raises FileExistsError when anything is there already."""
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        store = cls(path, _lock(path))
        with store._engine.begin() as connection:
            METADATA.create_all(connection)
            connection.execute(
                insert(META),
                [{"name": "schema", "value": str(SCHEMA_VERSION)}]
                + [{"name": name, "value": value} for name, value in meta.items()],
            )
        return store

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open what `create` made; never creates. Raises LedgerMissing, or LedgerFatal when it cannot be read."""
        if not path.is_file():
            raise LedgerMissing(f"the log {path} is not there; it is made once with: ivr init DIR")
        store = cls(path, _lock(path))
        try:
            version = store.meta().get("schema")
        except LedgerFatal:
            store.close()
            raise
        if version != str(SCHEMA_VERSION):
            store.close()
            raise LedgerMissing(f"{path} has schema {version}, this program reads {SCHEMA_VERSION}")
        store._add_tables()
        return store

    def _add_tables(self) -> None:
        # Tables of derived data that came after a log was made; they are filled by whoever derives it.
        try:
            METADATA.create_all(self._engine)
        except (SQLAlchemyError, sqlite3.Error) as error:
            self.close()
            raise LedgerFatal(f"{self.path} cannot be written: {_cause(error)}") from error

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
        started = select(EVENTS.c.recording).where(EVENTS.c.type == "recording.started")
        stopped = select(EVENTS.c.recording).where(EVENTS.c.type == "recording.stopped")
        running = select(EVENTS.c.call).where(EVENTS.c.recording.in_(started.except_(stopped)))
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
            with self._engine.begin() as connection:
                _insert(connection, EVENTS, events)
                _insert(connection, DISCLOSURES, disclosures)
                _insert(connection, PSEUDONYMS, pseudonyms)
                _insert(connection, CHECKPOINTS, [checkpoint] if checkpoint else [])
                _insert(connection, NODES, nodes)
                _delete(connection, gone, gone_pseudonyms)
                for name, value in (meta or {}).items():
                    connection.execute(update(META).where(META.c.name == name).values(value=value))
        except IntegrityError as error:
            raise LedgerConflict(f"{self.path}: {_cause(error)}") from None
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise LedgerFatal(f"{self.path} cannot be written: {_cause(error)}") from error

    def replace_nodes(self, nodes: Sequence[Node]) -> None:
        """Put these subtree hashes in the place of all that are stored. Raises LedgerFatal."""
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(NODES))
                _insert(connection, NODES, nodes)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise LedgerFatal(f"{self.path} cannot be written: {_cause(error)}") from error

    def close(self) -> None:
        """Release the database and its lock."""
        self._reader.dispose()
        self._engine.dispose()
        os.close(self._lock)

    def _read(self, query: Any) -> Sequence[Any]:
        try:
            with self._guard, self._reader.connect() as connection:
                return connection.execute(query).all()
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise LedgerFatal(f"{self.path} cannot be read: {_cause(error)}") from error


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


def _engine(path: Path) -> Engine:
    # mode=rw: SQLite itself must not create a database that is not there.
    address = f"file:{str(path.absolute()).replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode=rw"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def _set(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _lock(path: Path) -> int:
    """Two writers would fork the log. The kernel drops the lock with its process, so a crash leaves none behind."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise LedgerMissing(f"{path} is in use by another ledger process: stop that one first") from None
    return lock


def _cause(error: BaseException) -> str:
    original = getattr(error, "orig", None)
    return str(original or error)
