# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by alembic: the connection, and the transaction that all revisions share, are those of ivr.ledger.migrate."""

from alembic import context

from ivr.ledger.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
