# SPDX-License-Identifier: GPL-3.0-or-later
"""A new database for a log: the only place where one comes into being, called by `ivr init` alone."""

import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateSchema

from ivr.ledger.database import Postgres
from ivr.ledger.engines import file_lock, postgres_engine, sqlite_engine
from ivr.ledger.errors import LedgerMissing
from ivr.ledger.migrate import make_tables
from ivr.ledger.schema import META


def create_file(path: Path, meta: Mapping[str, str]) -> None:
    """A SQLite file (0600). Raises FileExistsError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    engine = sqlite_engine(path, explicit=True)
    try:
        with file_lock(path), engine.begin() as connection:
            _fill(connection, meta)
    finally:
        engine.dispose()


def create_schema(place: Postgres, meta: Mapping[str, str]) -> None:
    """A schema with empty tables; an empty one that a database administrator has made is taken.

    All in one transaction. Raises FileExistsError when the schema holds anything, LedgerMissing when it cannot be made.
    """
    from ivr.ledger.postgres import connect_writer, said

    with connect_writer(place) as driver:
        driver.autocommit = False
        engine = postgres_engine(driver)
        try:
            with engine.begin() as connection:
                make_room(connection, place)
                _fill(connection, meta)
        except SQLAlchemyError as error:
            raise LedgerMissing(f"{place}: the log cannot be made there: {said(error)}") from None
        finally:
            engine.dispose()


def _fill(connection: Connection, meta: Mapping[str, str]) -> None:
    make_tables(connection)
    connection.execute(insert(META), [{"name": name, "value": value} for name, value in meta.items()])


def make_room(connection: Connection, place: Postgres) -> None:
    """Part of the transaction that fills it. The schema's name needs no quotes (ivr.ledger.database)."""
    found = text(
        "SELECT count(c.oid) FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid "
        "WHERE n.nspname = :schema GROUP BY n.oid"
    )
    things = connection.scalar(found, {"schema": place.schema})
    if things is None:
        connection.execute(CreateSchema(place.schema))
    elif things:
        raise FileExistsError(
            f"{place}: the schema {place.schema} is not empty: nothing was changed. Name another one (?schema=…); one "
            f"that an interrupted `ivr init` left holds two events, and goes with: DROP SCHEMA {place.schema} CASCADE"
        )
