# SPDX-License-Identifier: GPL-3.0-or-later
"""Log events in words, for the demo's live timeline."""

from ivr.ledger.query import ShownEvent


def words(event: ShownEvent) -> str:
    """One event in a few words."""
    shown = {
        k: v for k, v in {**event.personal, **event.data}.items() if isinstance(v, (str, int)) and len(str(v)) < 30
    }
    return " ".join(f"{k}={v}" for k, v in shown.items() if k != "at_ms")
