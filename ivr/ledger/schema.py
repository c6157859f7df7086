# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of a log, in terms that SQLite and PostgreSQL share. Read by the store and by who reads for people.

What is evidence (events, checkpoints) is only ever inserted. What is personal (disclosures, pseudonyms) stands
apart, so that it can be deleted without touching evidence.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, MetaData, Table, Text

SCHEMA_VERSION = 2
"""The newest revision in ivr.ledger.migrations; `meta` says which one a database has."""

# Order and ranges of text are those of its bytes on both engines, whatever the language of the server.
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")

METADATA = MetaData()

META = Table(
    "meta",
    METADATA,
    Column("name", _TEXT, primary_key=True),
    Column("value", _TEXT, nullable=False),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("id", _TEXT, nullable=False, unique=True),
    Column("call", _TEXT),
    Column("recording", _TEXT),
    Column("type", _TEXT, nullable=False),
    Column("time", _TEXT, nullable=False),
    Column("jws", _TEXT, nullable=False),
    Column("leaf", LargeBinary(32), nullable=False),
)
Index("events_call", EVENTS.c.call, EVENTS.c.seq)
Index("events_type", EVENTS.c.type, EVENTS.c.seq)
Index("events_recording", EVENTS.c.recording, EVENTS.c.seq)

DISCLOSURES = Table(
    "disclosures",
    METADATA,
    Column("seq", BigInteger, ForeignKey(EVENTS.c.seq), primary_key=True),
    Column("digest", _TEXT, primary_key=True),
    Column("name", _TEXT, nullable=False),
    Column("text", _TEXT, nullable=False),
)

# The frontier makes a start independent of the log's length; it is checked against the signed root before use.
CHECKPOINTS = Table(
    "checkpoints",
    METADATA,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("time", _TEXT, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", _TEXT, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
)

# Derived from the leaves, so that a proof need not read them all; the ledger fills it where it falls short (schema 2).
NODES = Table(
    "nodes",
    METADATA,
    Column("level", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
)

PSEUDONYMS = Table(
    "pseudonyms",
    METADATA,
    Column("hmac", _TEXT, primary_key=True),
    Column("seq", BigInteger, ForeignKey(EVENTS.c.seq), primary_key=True),
    Column("name", _TEXT, primary_key=True),
)
