# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the tables of a log to this program's schema with alembic: all revisions in one transaction, or none.

Never run by the ledger itself: an operator decides when (`ivr db upgrade`), after a backup. There is no way back down.
"""

import logging
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from ivr.ledger.database import Database, Postgres
from ivr.ledger.engines import file_lock, postgres_engine, sqlite_engine
from ivr.ledger.errors import LedgerFatal, LedgerMissing
from ivr.ledger.reading import ReadError, open_reading
from ivr.ledger.schema import META, SCHEMA_VERSION

FIRST = "0001"

# What it does is said by whoever asked for it; its own lines would be in every new log's first breath.
logging.getLogger("alembic").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The schema's number before and after."""

    before: int
    after: int


def make_tables(connection: Connection) -> None:
    """All revisions, in the connection's own transaction."""
    command.upgrade(_config(connection), "head")


def upgrade(place: Database) -> Upgraded:
    """Bring an older log's tables up to date. The ledger must be stopped. Raises LedgerMissing, LedgerFatal."""
    if isinstance(place, Postgres):
        from ivr.ledger.postgres import connect_writer

        with connect_writer(place) as connection:
            connection.autocommit = False
            return _upgrade(postgres_engine(connection), place)
    if not place.is_file():
        raise LedgerMissing(f"the log {place} is not there; it is made once with: ivr init DIR")
    with file_lock(place):
        return _upgrade(sqlite_engine(place, explicit=True), place)


def schema_of(place: Database) -> int:
    """The number of a log's schema; changes nothing. Raises LedgerMissing."""
    try:
        with closing(open_reading(place, snapshot=True)) as reading:
            rows = reading.all("SELECT value FROM meta WHERE name = 'schema'")
    except ReadError as error:
        raise LedgerMissing(f"{place} cannot be read as a log: {error}") from None
    if len(rows) != 1 or not str(rows[0][0]).isdecimal():
        raise LedgerMissing(f"{place} does not say which schema it has: it was changed, run: ivr log verify")
    return int(rows[0][0])


def _upgrade(engine: Engine, place: Database) -> Upgraded:
    try:
        with engine.begin() as connection:
            before = found_schema(connection)
            if before is None:
                raise LedgerMissing(f"{place} holds no log; one is made once with: ivr init DIR")
            refuse_newer(before, place)
            if MigrationContext.configure(connection).get_current_revision() is None:
                # A file from before revisions were written down.
                command.stamp(_config(connection), FIRST)
            make_tables(connection)
            return Upgraded(before, found_schema(connection) or 0)
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise LedgerFatal(f"{place} cannot be upgraded, nothing was changed: {error}") from error
    finally:
        engine.dispose()


def found_schema(connection: Connection) -> int | None:
    """The schema's number as `meta` has it; None where there is no log."""
    if not inspect(connection).has_table(META.name):
        return None
    value = connection.scalar(select(META.c.value).where(META.c.name == "schema"))
    return int(value) if value is not None and str(value).isdecimal() else None


def refuse_newer(found: int, place: Database) -> None:
    """Raises LedgerMissing when a newer program made these tables."""
    if found > SCHEMA_VERSION:
        raise LedgerMissing(
            f"{place} has schema {found}, this program reads {SCHEMA_VERSION}: it was upgraded by a newer one, use that"
        )


@cache
def _folder() -> str:
    return str(Path(__file__).parent / "migrations")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", _folder().replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
