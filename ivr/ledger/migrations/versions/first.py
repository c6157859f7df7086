# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the first logs, which were SQLite files: 0.1.0.

`alembic_version` came later: a file that has these tables and not that one is at this revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make them, with the schema's number."""
    meta = op.create_table(
        "meta",
        sa.Column("name", _TEXT, primary_key=True),
        sa.Column("value", _TEXT, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", _TEXT, nullable=False, unique=True),
        sa.Column("call", _TEXT),
        sa.Column("recording", _TEXT),
        sa.Column("type", _TEXT, nullable=False),
        sa.Column("time", _TEXT, nullable=False),
        sa.Column("jws", _TEXT, nullable=False),
        sa.Column("leaf", sa.LargeBinary(32), nullable=False),
    )
    op.create_index("events_call", "events", ["call", "seq"])
    op.create_index("events_type", "events", ["type", "seq"])
    op.create_index("events_recording", "events", ["recording", "seq"])
    op.create_table(
        "disclosures",
        sa.Column("seq", sa.BigInteger, sa.ForeignKey("events.seq"), primary_key=True),
        sa.Column("digest", _TEXT, primary_key=True),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("text", _TEXT, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", _TEXT, nullable=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("note", _TEXT, nullable=False),
        sa.Column("frontier", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "pseudonyms",
        sa.Column("hmac", _TEXT, primary_key=True),
        sa.Column("seq", sa.BigInteger, sa.ForeignKey("events.seq"), primary_key=True),
        sa.Column("name", _TEXT, primary_key=True),
    )
    op.bulk_insert(meta, [{"name": "schema", "value": "1"}])
