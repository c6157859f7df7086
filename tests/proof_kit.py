# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody with the database does to a log: cuts its end, edits it, seals it again with a key."""

import sqlite3
from contextlib import closing

from ivr.audit.source import LogSource
from ivr.ledger.keys import LedgerKey
from ivr.ledger.note import Checkpoint, sign_note
from ivr.ledger.tree import root_of
from ledger_kit import Home


def edit(home: Home, *statements: str) -> None:
    """Change the database."""
    with closing(sqlite3.connect(home.db)) as db, db:
        for statement in statements:
            db.execute(statement)


def cut(home: Home, events: int) -> None:
    """Leave the first so many events, and nothing that tells of the others."""
    edit(
        home,
        *(f"DELETE FROM {table} WHERE seq >= {events}" for table in ("disclosures", "pseudonyms", "events")),
        f"DELETE FROM checkpoints WHERE size > {events}",
    )


def newest(home: Home) -> str:
    """The newest checkpoint, as somebody keeps it."""
    with LogSource(home.db) as source:
        row = source.newest_checkpoint()
    assert row is not None
    return row.note


def seal(home: Home, key: LedgerKey) -> None:
    """A checkpoint over what is there now, signed with this key."""
    with LogSource(home.db) as source:
        leaves = [row.leaf for row in source.rows()]
    root = root_of(leaves)
    note = sign_note(Checkpoint(key.vkey.name, len(leaves), root).text(), key.vkey, key.sign)
    with closing(sqlite3.connect(home.db)) as db, db:
        db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, '', ?, ?, x'')", (len(leaves), root, note))
