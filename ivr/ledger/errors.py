# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with the ledger, as few classes as callers must tell apart."""


class LedgerError(Exception):
    """Base class: what was attempted, where, and what to do."""


class LedgerMissing(LedgerError):
    """A key or the log is not there, or is not safe to use. Nothing is ever created silently."""


class LedgerRefused(LedgerError):
    """The ledger did not accept an event: the event is wrong. Sending it again will not help."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LedgerUnavailable(LedgerError):
    """No acknowledgement: not connected, connection dropped, or the client's queue is full."""


class LedgerFatal(LedgerError):
    """The store could not write (disk full, I/O error, foreign change). Nothing that waited is acknowledged."""


class LedgerConflict(LedgerError):
    """An event id that the log already holds. Nothing of the transaction was written."""
