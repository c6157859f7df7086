# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a log is: a SQLite file, or one schema of a PostgreSQL database. Opens nothing."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

SCHEMES = ("postgresql", "postgres")
DEFAULT_SCHEMA = "assent"
# What needs no quotes in SQL; 63 bytes is PostgreSQL's own limit to a name.
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SECRET = frozenset({"password", "sslpassword"})


class DatabaseError(ValueError):
    """The address of a database that is none: what is wrong, and what was expected."""

    def __init__(self, what: str, expected: str) -> None:
        super().__init__(f"{what} (expected: {expected})")
        self.what, self.expected = what, expected


@dataclass(frozen=True, slots=True)
class Postgres:
    """One log in PostgreSQL. `conninfo` is libpq's URI, `schema` the schema that holds this log and nothing else."""

    conninfo: str
    schema: str = DEFAULT_SCHEMA

    @classmethod
    def parse(cls, url: str) -> "Postgres":
        """`postgresql://user@host:port/database?schema=name&…`; all else in it is libpq's. Raises DatabaseError."""
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True)
        schemas = [value for name, value in options if name == "schema"]
        if len(schemas) > 1:
            raise DatabaseError("the address names two schemas", "one schema=name")
        schema = schemas[0] if schemas else DEFAULT_SCHEMA
        if not _SCHEMA.fullmatch(schema) or schema.startswith("pg_") or schema in ("public", "information_schema"):
            raise DatabaseError(
                f"{schema!r} cannot be the schema of a log",
                "a schema of its own: small letters, digits and _, not public and not pg_…",
            )
        if parts.fragment:
            raise DatabaseError("the address has a # in it", "%23 in its place")
        rest = "&".join(f"{name}={quote(value, safe='/')}" for name, value in options if name != "schema")
        conninfo = urlunsplit(("postgresql", parts.netloc, parts.path, rest, ""))
        # urlunsplit drops the slashes of an empty host, without which libpq takes it for no URI.
        if not parts.netloc:
            conninfo = conninfo.replace("postgresql:", "postgresql://", 1) if "//" not in conninfo else conninfo
        _check(conninfo)
        return cls(conninfo, schema)

    @property
    def url(self) -> str:
        """What `parse` takes, with a password where one was written; `str` leaves that out."""
        return f"{self.conninfo}{'&' if '?' in self.conninfo else '?'}schema={self.schema}"

    def __str__(self) -> str:
        """For people and messages: without passwords."""
        parts = urlsplit(self.conninfo)
        user, at, host = parts.netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        options = [
            f"{key}={'***' if key in _SECRET else quote(value, safe='/')}"
            for key, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
        options.append(f"schema={self.schema}")
        shown = f"{name}{':***' if colon else ''}{at}{host}"
        return f"postgresql://{shown}{parts.path}?{'&'.join(options)}"

    def __repr__(self) -> str:
        return f"Postgres({self})"


Database = Path | Postgres
"""A path is a SQLite file."""


def database_of(text: str) -> Database:
    """What was written in settings or on a command line. Raises DatabaseError."""
    scheme, mark, _ = text.partition("://")
    if not mark:
        return Path(text)
    if scheme not in SCHEMES:
        raise DatabaseError(f"{scheme}:// is no database that a log can be in", "a file, or postgresql://…")
    return Postgres.parse(text)


def _check(conninfo: str) -> None:
    # Loaded only where a log is in PostgreSQL: workers and auditors of files do without.
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(conninfo)
    except Error as error:
        said = " ".join(str(error).split())
        raise DatabaseError(f"no address of a PostgreSQL database: {said}", "postgresql://user@host/database") from None
