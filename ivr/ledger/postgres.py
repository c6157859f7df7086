# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to PostgreSQL, set up so that what a commit says is true, and that one ledger writes at a time.

Lock and writes share one connection, which is never made again: with the connection the lock is gone, and with the
lock every means of writing.
"""

import hashlib
import select
from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict

from ivr.ledger.database import Postgres
from ivr.ledger.errors import LedgerFatal, LedgerMissing

CONNECT_S = 10
LOCK_WAIT_MS = 5000
"""How long a start waits for the lock: the server may not have noticed yet that the last ledger was killed."""
OLDEST = 13_00_00

# Who is silent for so long is gone. Without it a node that lost power keeps its lock for two hours.
_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 15_000}
_SESSION: Sequence[LiteralString] = (
    "SET tcp_keepalives_idle = 5",
    "SET tcp_keepalives_interval = 3",
    "SET tcp_keepalives_count = 3",
    "SET tcp_user_timeout = 15000",
    # An operator's general limits must not end the one connection that is idle on a quiet night.
    "SET idle_in_transaction_session_timeout = 0",
    "SET statement_timeout = 0",
)

Connection = psycopg.Connection[tuple[Any, ...]]


def connect(place: Postgres, *, writes: bool) -> Connection:
    """A connection in autocommit whose names are looked up in the log's schema alone. Raises psycopg.Error."""
    given = conninfo_to_dict(place.conninfo)
    more: dict[str, Any] = {"connect_timeout": CONNECT_S, "application_name": "assent"} | _KEEPALIVE
    if writes:
        # Of several hosts the one that takes writes; a standby is refused.
        more["target_session_attrs"] = "read-write"
    connection = psycopg.connect(
        place.conninfo, autocommit=True, **{name: value for name, value in more.items() if name not in given}
    )
    try:
        connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(place.schema)))
        if not writes:
            connection.execute("SET default_transaction_read_only = on")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(place: Postgres) -> Connection:
    """A connection that cannot write. Raises LedgerMissing."""
    try:
        return connect(place, writes=False)
    except psycopg.Error as error:
        raise LedgerMissing(f"{place} cannot be reached: {said(error)}") from None


def connect_writer(place: Postgres) -> Connection:
    """The connection of the one writer: durable, and holding the log's lock. Raises LedgerMissing."""
    try:
        connection = connect(place, writes=True)
    except psycopg.Error as error:
        raise LedgerMissing(f"{place} cannot be reached: {said(error)}") from None
    try:
        _durable(connection, place)
        _lock(connection, place)
    except psycopg.Error as error:
        connection.close()
        raise LedgerMissing(f"{place} cannot be used: {said(error)}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def said(error: BaseException) -> str:
    """The words of a driver's error in one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


class Watch:
    """Watches the one writing connection. `durable` after each commit, `alive` at any time from any thread."""

    def __init__(self, connection: Connection, place: Postgres) -> None:
        self.connection = connection
        self._place = place
        self._warnings: list[str] = []
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN | select.POLLRDHUP)
        connection.add_notice_handler(self._noticed)

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(" ".join(filter(None, (notice.message_primary, notice.message_detail))))

    def durable(self) -> None:
        """Raises LedgerFatal when the server committed with a reservation.

        A commit whose wait for a synchronous standby was cancelled succeeds, and only a warning says that the standby
        may not have it (PostgreSQL, "Synchronous Replication").
        """
        if self._warnings:
            raise LedgerFatal(f"{self._place}: a commit may not be durable: {'; '.join(self._warnings)}")

    def alive(self) -> None:
        """Raises LedgerFatal when the server closed the connection. To be asked only while nothing is sent on it."""
        if self.connection.closed:
            raise LedgerFatal(f"{self._place}: the connection to the database is closed")
        if not self._poll.poll(0):
            return
        try:
            self.connection.pgconn.consume_input()
            if self.connection.pgconn.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError("the connection was lost")
        except psycopg.Error as error:
            raise LedgerFatal(f"{self._place}: the database closed the connection: {said(error)}") from None


def _durable(connection: Connection, place: Postgres) -> None:
    if connection.info.server_version < OLDEST:
        raise LedgerMissing(f"{place}: PostgreSQL {OLDEST // 10000} or newer is needed")
    if _shown(connection, "server_encoding") != "UTF8":
        raise LedgerMissing(f"{place}: the database is not encoded in UTF8; make one that is: createdb -E UTF8")
    if _shown(connection, "fsync") != "on":
        raise LedgerMissing(f"{place}: the server runs with fsync=off, so that no event on it is durable")
    for statement in _SESSION:
        connection.execute(statement)
    if connection.info.server_version >= 14_00_00:
        connection.execute("SET idle_session_timeout = 0")
    # `on` waits for the disk here, and for that of a synchronous standby where one is named; remote_apply is more.
    if _shown(connection, "synchronous_commit") not in ("on", "remote_apply"):
        connection.execute("SET synchronous_commit = on")


def _shown(connection: Connection, setting: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (setting,)).fetchone()
    return str(row[0]) if row else ""


def lock_key(schema: str) -> int:
    """The log's advisory lock: 64 bits, signed."""
    return int.from_bytes(hashlib.sha256(f"assent log {schema}".encode()).digest()[:8], "big", signed=True)


def _lock(connection: Connection, place: Postgres) -> None:
    """Two writers would fork the log. The server drops the lock with the session."""
    connection.execute(sql.SQL("SET lock_timeout = {}").format(LOCK_WAIT_MS))
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", (lock_key(place.schema),))
    except psycopg.errors.LockNotAvailable:
        raise LedgerMissing(f"{place} is in use by another ledger process: stop that one first") from None
