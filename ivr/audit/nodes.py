# SPDX-License-Identifier: GPL-3.0-or-later
"""What must not be the same in two logs: name, keys, calls. Fed while each of them is verified.

Calls are kept in a private temporary file of SQLite's (a database without a name), not in memory: a year of ten nodes
has many. A call that is in two logs was either counted twice, or moved to where its other half is missing.
"""

import sqlite3
import weakref
from collections.abc import Callable, Sequence

from ivr.audit.findings import Check, Finding
from ivr.audit.source import SourceError
from ivr.ledger.note import VKey

_TABLE = "CREATE TABLE calls (name BLOB PRIMARY KEY, node TEXT NOT NULL) WITHOUT ROWID"
_ADD = "INSERT INTO calls VALUES (?, ?) ON CONFLICT (name) DO NOTHING"
_FIND = "SELECT node FROM calls WHERE name = ?"


class SeveralLogs:
    """Tell it each node's keys and calls; `findings` is what two of them share."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._origins: dict[str, str] = {}
        self._keys: dict[bytes, str] = {}
        self._file = sqlite3.connect("", isolation_level=None)
        weakref.finalize(self, self._file.close)
        for line in ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "PRAGMA temp_store=FILE", _TABLE, "BEGIN"):
            self._run(line)

    def has(self, node: str, keys: Sequence[VKey]) -> None:
        """A node's log has this name and these keys."""
        origin = keys[0].name
        other = self._origins.setdefault(origin, node)
        if other != node:
            self._find(f"the log of {node} is called {origin} as that of {other} is; names are for ever, and one's own")
        for key in keys:
            other = self._keys.setdefault(key.public, node)
            if other != node:
                self._find(f"a key of the log of {node} is one of {other}'s too: {key}")

    def calls_of(self, node: str) -> Callable[[str], None]:
        """What takes the calls of a node's log, by id."""

        def call(name: str) -> None:
            self._run(_ADD, name.encode("utf-8", "surrogatepass"), node)
            if (other := self._run(_FIND, name.encode("utf-8", "surrogatepass"))[0][0]) != node:
                self._find(f"this call of {node} is in the log of {other} too", name)

        return call

    def _find(self, what: str, call: str | None = None) -> None:
        self.findings.append(Finding(Check.NODES, what, call=call))

    def _run(self, line: str, *values: object) -> list[tuple[str]]:
        try:
            return self._file.execute(line, values).fetchall()
        except sqlite3.Error as error:
            what = f"a temporary file for the calls of all nodes: {error}"
            raise SourceError(f"{what}; free some space there, or set SQLITE_TMPDIR to another folder") from None
