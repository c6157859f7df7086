# SPDX-License-Identifier: GPL-3.0-or-later
"""The revisions. Each one also writes its number into `meta`, which is what the ledger looks at."""
