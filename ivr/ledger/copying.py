# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves a log from its SQLite file into PostgreSQL, row by row, while no ledger runs on either.

There must never be two databases that a ledger goes on with. Order, and what a crash leaves after each step:
1. All rows are copied in one transaction that is not committed, and compared: nothing happened; do it again.
2. The file gets another name, where no ledger looks for it: the log is nowhere yet; do it again, it is found there.
3. The transaction is committed. Doing it again says that it is done.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, insert, select
from sqlalchemy.exc import SQLAlchemyError

from ivr.ledger.create import make_room
from ivr.ledger.database import Postgres
from ivr.ledger.engines import file_lock, postgres_engine
from ivr.ledger.errors import LedgerFatal, LedgerMissing
from ivr.ledger.migrate import found_schema, make_tables
from ivr.ledger.note import Checkpoint, NoteError, note_text
from ivr.ledger.reading import ReadError, Reading, open_reading
from ivr.ledger.schema import EVENTS, META, METADATA, SCHEMA_VERSION
from ivr.ledger.tree import Frontier

MOVED = ".moved-to-postgresql"
_PART = 1000


@dataclass(frozen=True, slots=True)
class Copied:
    """How many events, and the name that the file has now. `already`: an earlier run had done all of it."""

    events: int
    kept: Path
    already: bool = False


def copy_log(source: Path, target: Postgres) -> Copied:
    """Copy, compare, and rename the file. Raises LedgerMissing, LedgerFatal, FileExistsError."""
    from ivr.ledger.postgres import connect_writer

    moved = source.with_name(source.name + MOVED)
    if source.exists() and moved.exists():
        raise LedgerMissing(f"{source} and {moved} are both there: move the one away that no ledger shall go on with")
    present = moved if moved.exists() else source
    if not present.is_file():
        raise LedgerMissing(f"the log {source} is not there; it is made once with: ivr init DIR")
    with file_lock(source):
        _make_whole(present)
        try:
            with closing(open_reading(present, snapshot=True)) as old, connect_writer(target) as driver:
                driver.autocommit = False
                engine = postgres_engine(driver)
                try:
                    return _move(old, engine, present, moved, target)
                finally:
                    engine.dispose()
        except (SQLAlchemyError, ReadError, OSError) as error:
            if isinstance(error, FileExistsError):
                raise
            said = " ".join(str(error).split())
            raise LedgerFatal(f"{source} was not copied to {target}: {said}. Run it again") from error


def _make_whole(path: Path) -> None:
    """Puts what stands in the -wal file into the database, which can then be renamed. Raises LedgerMissing."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as db:
            mode = db.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    except sqlite3.Error as error:
        raise LedgerMissing(f"{path} cannot be had alone: {error}; end what reads it") from None
    if mode != "delete":
        raise LedgerMissing(f"{path} is being read by somebody: wait until that is done")


def _move(old: Reading, engine: Engine, present: Path, moved: Path, target: Postgres) -> Copied:
    version = old.all("SELECT value FROM meta WHERE name = 'schema'")
    if version != [(str(SCHEMA_VERSION),)]:
        raise LedgerMissing(f"{present} is not of schema {SCHEMA_VERSION}; run first: ivr db upgrade")
    events = int(old.all("SELECT count(*) FROM events")[0][0])
    with engine.begin() as new:
        if present == moved and found_schema(new) is not None:
            _compare(old, new)
            return Copied(events, moved, already=True)
        make_room(new, target)
        make_tables(new)
        new.execute(META.delete())
        for table in METADATA.sorted_tables:
            rows = old.each(_query(table))
            while part := list(islice(rows, _PART)):
                new.execute(insert(table), [dict(zip(table.c.keys(), row, strict=True)) for row in part])
        _compare(old, new)
        if present != moved:
            _rename(present, moved)
    return Copied(events, moved)


def _query(table: Table) -> str:
    order = ", ".join(column.name for column in table.primary_key)
    return f"SELECT {', '.join(table.c.keys())} FROM {table.name} ORDER BY {order}"


def _compare(old: Reading, new: Connection) -> None:
    """Every row of every table, and the root of the tree with the one that was signed. Raises LedgerFatal."""
    for table in METADATA.sorted_tables:
        stored = new.execute(select(table).order_by(*table.primary_key).execution_options(yield_per=_PART))
        if _digest(old.each(_query(table))) != _digest(stored):
            raise LedgerFatal(f"the copy of {table.name} is not the same; nothing was changed")
    newest = old.all("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1")
    if not newest:
        raise LedgerFatal("the log holds no checkpoint: it was changed, run: ivr log verify")
    size, note = newest[0]
    tree = Frontier.empty()
    leaves = select(EVENTS.c.leaf).where(EVENTS.c.seq < size).order_by(EVENTS.c.seq)
    for row in new.execute(leaves.execution_options(yield_per=_PART)):
        tree.append(bytes(row.leaf))
    try:
        signed = Checkpoint.parse(note_text(note))
    except NoteError as error:
        raise LedgerFatal(f"checkpoint {size}: {error}; run: ivr log verify") from None
    if (signed.size, signed.root) != (tree.size, tree.root()):
        raise LedgerFatal(f"the events are not those of checkpoint {size}; run: ivr log verify")


def _digest(rows: Iterator[Sequence[Any]] | Any) -> bytes:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(tuple(row)).encode())
    return digest.digest()


def _rename(present: Path, moved: Path) -> None:
    os.rename(present, moved)
    folder = os.open(moved.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
