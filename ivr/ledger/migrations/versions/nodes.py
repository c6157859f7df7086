# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes of full subtrees, for short proofs. Filled from the leaves when the ledger starts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table, unless a ledger between 0.1.0 and this revision has made it."""
    op.create_table(
        "nodes",
        sa.Column("level", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        if_not_exists=True,
    )
    op.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")
