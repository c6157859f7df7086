# SPDX-License-Identifier: GPL-3.0-or-later
"""Alembic's folder: one module a revision of the tables, from SQLite's first schema on. See ivr.ledger.migrate."""
