# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known by a name: the newest in memory, the rest in a private temporary file that grows instead.

The file is SQLite's (a database without a name): it stands in no folder once it is open, is made only when more is
known than is kept, and is gone with the process. What goes there is ids, hashes and numbers of the log.
"""

import json
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from ivr.audit.source import SourceError

KEPT = 32
"""How many values are kept in memory at most. Few: a recording of an hour has many segments."""

_TABLE = "CREATE TABLE known (number INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, facts TEXT NOT NULL)"
_WRITE = "INSERT INTO known VALUES (?, ?, ?) ON CONFLICT (number) DO UPDATE SET facts = excluded.facts"
_FIND = "SELECT number, facts FROM known WHERE name = ?"
_AFTER = "SELECT number, facts FROM known WHERE number > ? ORDER BY number LIMIT 64"

Value = TypeVar("Value")


class Spill(Generic[Value]):
    """Values by name. A value that was changed must be put again; SourceError when the temporary file fails."""

    def __init__(self, pack: Callable[[Value], Any], unpack: Callable[[Any], Value]) -> None:
        """`pack` and `unpack` make JSON of a value and the value of JSON."""
        self._pack = pack
        self._unpack = unpack
        self._kept: dict[str, tuple[int, Value]] = {}
        self._changed: set[str] = set()
        self._numbers = 0
        self._file: sqlite3.Connection | None = None

    def get(self, name: str) -> Value | None:
        """The value of this name, if there is one."""
        found = self._kept.pop(name, None) or self._written(name)
        if found is None:
            return None
        self._keep(name, found)
        return found[1]

    def put(self, name: str, value: Value) -> None:
        """Keep this value by this name from now on."""
        found = self._kept.pop(name, None) or self._written(name)
        if found is None:
            self._numbers += 1
        self._changed.add(name)
        self._keep(name, (found[0] if found else self._numbers, value))

    def __iter__(self) -> Iterator[Value]:
        """All, in the order in which their names came. Nothing may be put meanwhile."""
        if self._file is None:
            yield from [value for _number, value in sorted(self._kept.values(), key=lambda one: one[0])]
            return
        self._write()
        last = 0
        # In small parts: so that the file can be written to between two of them.
        while rows := self._run(self._file, _AFTER, last):
            for number, facts in rows:
                last = number
                yield self._unpack(json.loads(facts))

    def _keep(self, name: str, found: tuple[int, Value]) -> None:
        # A dict keeps the order of insertion: what was asked for last stands at the end.
        self._kept[name] = found
        if len(self._kept) > KEPT:
            self._write()
            for old in list(self._kept)[: KEPT // 2]:
                del self._kept[old]

    def _written(self, name: str) -> tuple[int, Value] | None:
        if self._file is None:
            return None
        rows = self._run(self._file, _FIND, _bytes(name))
        return (rows[0][0], self._unpack(json.loads(rows[0][1]))) if rows else None

    def _write(self) -> None:
        if self._file is None:
            self._file = self._open()
        self._run(self._file, "BEGIN")
        for name in self._changed:
            number, value = self._kept[name]
            self._run(self._file, _WRITE, number, _bytes(name), json.dumps(self._pack(value)))
        self._run(self._file, "COMMIT")
        self._changed.clear()

    def _open(self) -> sqlite3.Connection:
        file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, file.close)
        # Nobody reads it after a crash: a journal and waiting for the disk would be for nothing.
        for line in ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "PRAGMA temp_store=FILE", _TABLE):
            self._run(file, line)
        return file

    @staticmethod
    def _run(file: sqlite3.Connection, line: str, *values: object) -> list[Any]:
        try:
            return file.execute(line, values).fetchall()
        except sqlite3.Error as error:
            what = f"a temporary file for what the log says of recordings: {error}"
            raise SourceError(f"{what}; free some space there, or set SQLITE_TMPDIR to another folder") from None


def _bytes(name: str) -> bytes:
    # A name in the log may be text that is no Unicode (a lone surrogate), which SQLite would not take as text.
    return name.encode("utf-8", "surrogatepass")
