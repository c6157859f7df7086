# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of a log, in terms that SQLite and PostgreSQL share. Read by the store and by who reads for people.

What is evidence (events, checkpoints) is only ever inserted. What is personal (disclosures, pseudonyms) stands
apart, so that it can be deleted without touching evidence.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, MetaData, Table, Text

SCHEMA_VERSION = 1

METADATA = MetaData()

META = Table(
    "meta",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("call", Text),
    Column("recording", Text),
    Column("type", Text, nullable=False),
    Column("time", Text, nullable=False),
    Column("jws", Text, nullable=False),
    Column("leaf", LargeBinary(32), nullable=False),
)
Index("events_call", EVENTS.c.call, EVENTS.c.seq)
Index("events_type", EVENTS.c.type, EVENTS.c.seq)
Index("events_recording", EVENTS.c.recording, EVENTS.c.seq)

DISCLOSURES = Table(
    "disclosures",
    METADATA,
    Column("seq", BigInteger, ForeignKey(EVENTS.c.seq), primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("text", Text, nullable=False),
)

# The frontier makes a start independent of the log's length; it is checked against the signed root before use.
CHECKPOINTS = Table(
    "checkpoints",
    METADATA,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Text, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", Text, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
)

# Derived from the leaves, so that a proof need not read them all; a log that has none of them gets them at its start.
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
    Column("hmac", Text, primary_key=True),
    Column("seq", BigInteger, ForeignKey(EVENTS.c.seq), primary_key=True),
    Column("name", Text, primary_key=True),
)
