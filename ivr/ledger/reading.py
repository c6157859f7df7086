# SPDX-License-Identifier: GPL-3.0-or-later
"""Queries to a log's database without the means to change it, in the words that SQLite and PostgreSQL share.

No SQLAlchemy here: what an auditor's command does stays a plain query, and rows come as the driver has them.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ivr.ledger.database import Database, Postgres

if TYPE_CHECKING:
    from typing import LiteralString

# Rows that a server sends at a time.
_PART = 2000
# The messages of SQLite quote a broken schema, which need not be text.
_BROKEN = (sqlite3.Error, UnicodeDecodeError)


class ReadError(Exception):
    """The database cannot be read: what the driver said."""


class Reading(Protocol):
    """An open database. Queries have `?` where values go."""

    def each(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows, a part at a time: for queries with many."""

    def all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows at once: for queries with few."""

    def has_table(self, name: str) -> bool:
        """Whether the log has this table."""

    def close(self) -> None:
        """Release it."""


def open_reading(place: Database, *, snapshot: bool) -> Reading:
    """With `snapshot`, every query sees the log as it was when this was called. Raises ReadError."""
    return PostgresReading(place, snapshot) if isinstance(place, Postgres) else SqliteReading(place, snapshot)


class SqliteReading:
    """A file, opened read-only."""

    def __init__(self, path: Path, snapshot: bool) -> None:
        if not path.is_file():
            raise ReadError("no such file")
        # A database in use has its newest events in the -wal file; only without one is `immutable` true.
        beside = any(path.with_name(path.name + end).exists() for end in ("-wal", "-shm"))
        mode = "mode=ro" if beside or not snapshot else "mode=ro&immutable=1"
        try:
            self._db = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
        except _BROKEN as error:
            raise ReadError(str(error)) from None
        try:
            self._db.execute("PRAGMA query_only=ON")
            if snapshot:
                self._db.execute("BEGIN")
            self._db.execute("SELECT 1 FROM events LIMIT 1")
        except _BROKEN as error:
            self._db.close()
            raise ReadError(f"{error} (copy the -wal file too, or use a copy made with sqlite3 .backup)") from None

    def each(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            # Not `yield from`, which would close the cursor, possibly after the database.
            for row in self._db.execute(query, values):  # noqa: UP028
                yield row
        except _BROKEN as error:
            raise ReadError(str(error)) from None

    def all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except _BROKEN as error:
            raise ReadError(str(error)) from None

    def has_table(self, name: str) -> bool:
        query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
        return bool(self.all(query, (name,))[0][0])

    def close(self) -> None:
        self._db.close()


class PostgresReading:
    """A session that is read-only; with a snapshot, one transaction at REPEATABLE READ."""

    def __init__(self, place: Postgres, snapshot: bool) -> None:
        # Loaded only where a log is in PostgreSQL.
        import psycopg

        from ivr.ledger.postgres import connect, said

        self._error, self._said = psycopg.Error, said
        self._names = (f"part_{n}" for n in count())
        self._snapshot = snapshot
        try:
            self._db = connect(place, writes=False)
        except psycopg.Error as error:
            raise ReadError(said(error)) from None
        try:
            if snapshot:
                self._db.autocommit = False
                self._db.read_only = True
                self._db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            # The snapshot is taken by the first query.
            self._db.execute("SELECT 1 FROM events LIMIT 1")
        except psycopg.Error as error:
            self._db.close()
            raise ReadError(said(error)) from None

    def each(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        # Outside a transaction the server must keep what a query found until all of it was sent (WITH HOLD).
        cursor = self._db.cursor(name=next(self._names), withhold=not self._snapshot)
        cursor.itersize = _PART
        try:
            for row in cursor.execute(_placed(query), values):  # noqa: UP028
                yield row
        except self._error as error:
            raise ReadError(self._said(error)) from None
        finally:
            if not self._db.closed and not self._db.broken:
                cursor.close()

    def all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(_placed(query), values).fetchall()
        except self._error as error:
            raise ReadError(self._said(error)) from None

    def has_table(self, name: str) -> bool:
        query = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?"
        return bool(self.all(query, (name,))[0][0])

    def close(self) -> None:
        self._db.close()


def _placed(query: str) -> "LiteralString":
    # Our queries are literals of this package with no % in them; values are never part of their text.
    return query.replace("?", "%s")
