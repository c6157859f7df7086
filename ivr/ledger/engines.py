# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLAlchemy engines for the store: one connection that writes, one that reads; and the lock of the writer."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from ivr.ledger.database import Database, Postgres
from ivr.ledger.errors import LedgerMissing

# Deleted disclosures are overwritten, not only unlinked from their page: erasure means gone.
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON", "busy_timeout=5000")


class Engines(Protocol):
    """An open database. One thread at a time writes, one at a time reads."""

    reader: Engine

    def writing(self) -> AbstractContextManager[Connection]:
        """One transaction; on disk when the block has ended. Raises what SQLAlchemy raises, or LedgerFatal."""

    def check(self) -> None:
        """Raises LedgerFatal when nothing could be written any more. From any thread; never waits."""

    def close(self) -> None:
        """Release connections and lock."""


class SqliteEngines:
    """The lock is a file beside the database; the kernel drops it with the process."""

    def __init__(self, path: Path) -> None:
        self._lock = _lock(path)
        self._writer = sqlite_engine(path)
        self.reader = sqlite_engine(path)

    def writing(self) -> AbstractContextManager[Connection]:
        """synchronous=FULL: a commit that returned is on disk."""
        return self._writer.begin()

    def check(self) -> None:
        """A file does not go away by itself."""

    def close(self) -> None:
        """Release both and the lock."""
        self.reader.dispose()
        self._writer.dispose()
        os.close(self._lock)


class PostgresEngines:
    """The lock belongs to the connection that writes."""

    def __init__(self, place: Postgres) -> None:
        # Loaded only where a log is in PostgreSQL.
        from psycopg import Error

        from ivr.ledger.postgres import Watch, connect_reader, connect_writer, said

        # Held while something is sent: the connection may not be looked at then.
        self._busy = Lock()
        with ExitStack() as opened:
            writing = opened.enter_context(closing(connect_writer(place)))
            self._reading = opened.enter_context(closing(connect_reader(place)))
            try:
                self._watch = Watch(writing, place)
                writing.autocommit = False
            except Error as error:
                raise LedgerMissing(f"{place} was lost again: {said(error)}") from None
            opened.pop_all()
        self._writer = postgres_engine(writing)
        self.reader = postgres_engine(self._reading)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """synchronous_commit is on for this session; what the server says about the commit counts too."""
        with self._busy:
            with self._writer.begin() as connection:
                yield connection
            self._watch.durable()

    def check(self) -> None:
        """Whether the server is still there. While a transaction runs, that one finds out."""
        if self._busy.acquire(blocking=False):
            try:
                self._watch.alive()
            finally:
                self._busy.release()

    def close(self) -> None:
        """Close both; the server drops the lock."""
        self._watch.connection.close()
        self._reading.close()
        self.reader.dispose()
        self._writer.dispose()


def open_engines(place: Database) -> Engines:
    """Connect and take the lock; never creates. Raises LedgerMissing."""
    return PostgresEngines(place) if isinstance(place, Postgres) else SqliteEngines(place)


def sqlite_engine(path: Path, *, explicit: bool = False) -> Engine:
    """`explicit`: transactions are begun by a BEGIN of our own, so that they also hold what changes tables."""
    # mode=rw: SQLite itself must not create a database that is not there.
    address = f"file:{str(path.absolute()).replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode=rw"

    def connect() -> sqlite3.Connection:
        level: Literal["DEFERRED"] | None = None if explicit else "DEFERRED"
        return sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=level)

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def _set(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    if explicit:

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def postgres_engine(connection: Any) -> Engine:
    """An engine over this one connection. Once it is lost, there is none: another would not hold the lock."""
    given = iter([connection])

    def once() -> Any:
        from psycopg import OperationalError

        found = next(given, None)
        if found is None:
            raise OperationalError("the connection to the database was lost")
        return found

    return create_engine("postgresql+psycopg://", creator=once, poolclass=StaticPool, use_native_hstore=False)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """The writer's lock of a SQLite file. Raises LedgerMissing when a ledger has it."""
    lock = _lock(path)
    try:
        yield
    finally:
        os.close(lock)


def _lock(path: Path) -> int:
    """Two writers would fork the log. The kernel drops the lock with its process, so a crash leaves none behind."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise LedgerMissing(f"{path} is in use by another ledger process: stop that one first") from None
    return lock
