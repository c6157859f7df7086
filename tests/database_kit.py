# SPDX-License-Identifier: GPL-3.0-or-later
"""A log in either engine, and the means to change it behind its ledger's back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from ivr.ledger.database import Database, Postgres
from ivr.ledger.keeping import PersonalSettings
from ivr.ledger.keys import create_keys, load_pseudonym_key
from ivr.ledger.log import Log
from ledger_kit import ORIGIN, Home
from postgres_kit import OWNER


@dataclass(frozen=True)
class Base(Home):
    """A home whose log may be elsewhere."""

    place: Database = Path()

    @property
    def db(self) -> Any:
        return self.place

    @classmethod
    def make(cls, path: Path, place: Database, **more: Any) -> "Base":
        base = cls(path, place)
        base.keys.mkdir()
        base.recordings.mkdir()
        key = create_keys(base.keys, ORIGIN)
        Log.create(place, key, load_pseudonym_key(base.keys), **more).close()
        return base

    def run(self, statement: str, *values: object) -> list[Any]:
        """As somebody who owns the server: no foreign key is in the way."""
        if not isinstance(self.place, Postgres):
            return super().run(statement, *values)
        ready = statement.replace("zeros", "decode(repeat('00', 32), 'hex')").replace("?", "%s")
        with psycopg.connect(self.place.conninfo.replace(f"{OWNER}@", "postgres@"), autocommit=True) as db:
            db.execute("SET session_replication_role = replica")
            db.execute(f"SET search_path = {self.place.schema}")
            cursor = db.execute(ready, values or None)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []


def sealed(path: Path) -> PersonalSettings:
    """Personal fields under secrets of their own, as a server keeps them."""
    subjects = path / "subjects"
    subjects.mkdir(exist_ok=True)
    return PersonalSettings(subjects, "DE", {"personal": 90, "evidence": 1095})
