# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way we know to change a log's database without its key: each a name and a change to a copy of it."""

import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr.audit.source import LogSource
from ivr.ledger.canonical import b64url, unb64url
from ivr.ledger.event import parse, peek, sign
from ivr.ledger.keys import LedgerKey
from ivr.ledger.note import VKey
from ivr.ledger.tree import leaf_hash
from ledger_kit import ORIGIN, Home

Change = Callable[[sqlite3.Connection], None]


@dataclass(frozen=True)
class Made:
    """A whole log of two keys and some checkpoints; `kept` are those that somebody has outside, by size."""

    home: Home
    first: VKey
    kept: dict[int, str]


def with_leaf(db: sqlite3.Connection, seq: int, jws: str) -> None:
    """Put an event in a place, with everything beside it that a careful forger can compute."""
    db.execute("UPDATE events SET jws = ?, leaf = ? WHERE seq = ?", (jws, leaf_hash(jws.encode("utf-8")), seq))


def at_place(row: str, jws: str) -> Change:
    seq = peek(row).seq
    return lambda db: with_leaf(db, seq, jws)


def flipped(made: Made, dice: random.Random) -> Iterator[tuple[str, Change]]:
    """One bit of one event: header, payload or signature, in the text or under its encoding."""
    for row in rows(made):
        for part in range(3):
            for _ in range(6):
                parts = row.split(".")
                raw = bytearray(unb64url(parts[part].encode()))
                raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
                parts[part] = b64url(bytes(raw)).decode()
                yield f"bit in part {part}", at_place(row, ".".join(parts))
        at = dice.randrange(len(row))
        text = row[:at] + chr(ord(row[at]) ^ 1) + row[at + 1 :]
        yield "character", at_place(row, text)


def rewritten(made: Made, dice: random.Random) -> Iterator[tuple[str, Change]]:
    """A field of the payload says something else; the signature is the old one, or one of the forger's own."""
    forger = LedgerKey.of(ORIGIN, Ed25519PrivateKey.generate())
    for row in rows(made):
        header, payload, signature = row.split(".")
        fields = json.loads(unb64url(payload.encode()))
        for name, value in fields.items():
            if name in ("_sd", "_sd_alg"):
                continue
            changed = json.dumps(fields | {name: other(value, dice)}, sort_keys=True, separators=(",", ":"))
            body = f"{header}.{b64url(changed.encode()).decode()}"
            own = b64url(forger.sign(body.encode())).decode()
            yield f"field {name}", at_place(row, f"{body}.{signature}")
            yield f"field {name}, signed", at_place(row, f"{body}.{own}")
        event = parse(row.encode(), header.encode())
        strange = sign(event, {}, forger.kid, forger.sign).jws
        yield "another key", at_place(row, strange)


def other(value: object, dice: random.Random) -> object:
    if isinstance(value, int):
        return value + dice.choice([-1, 1, 1000])
    if isinstance(value, str):
        at = dice.randrange(len(value))
        return value[:at] + ("1" if value[at] != "1" else "2") + value[at + 1 :]
    if isinstance(value, dict):
        return value | {"at_ms": 123_456}
    return "01a1ffd6-be82-7d3f-ab83-000000000000"


def moved(made: Made, dice: random.Random) -> Iterator[tuple[str, Change]]:
    """Events taken out, put in twice, exchanged or renumbered."""
    size = len(rows(made))
    shift = "UPDATE events SET seq = -seq WHERE seq > {0}", "UPDATE events SET seq = -seq - 1 WHERE seq < -{0}"
    for seq in range(size):
        yield "dropped", lambda db, s=seq: run(db, f"DELETE FROM events WHERE seq = {s}")
        closed = [f"DELETE FROM events WHERE seq = {seq}", *(one.format(seq) for one in shift)]
        yield "dropped, moved up", lambda db, c=closed: run(db, *c)
        yield "copied", lambda db, s=seq: copy(db, s, size)
    for first in range(size - 1):
        for second in dice.sample(range(first + 1, size), min(5, size - first - 1)):
            yield "exchanged", lambda db, a=first, b=second: exchange(db, a, b)
            yield "replaced", lambda db, a=first, b=second: with_leaf(db, a, text(db, b))
    for first in range(1, size - 2):
        span = f"seq BETWEEN {first} AND {dice.randrange(first, size - 1)}"
        yield "span dropped", lambda db, s=span: run(db, f"DELETE FROM events WHERE {s}")


def beside(made: Made, dice: random.Random) -> Iterator[tuple[str, Change]]:
    """Columns beside the events, disclosures, checkpoints."""
    size = len(rows(made))
    for seq in range(size):
        for column in ("id", "type", "time", "call", "recording"):
            changed = f"UPDATE events SET {column} = 'x{seq}' WHERE seq = {seq}"
            yield f"column {column}", lambda db, c=changed: run(db, c)
        yield "column leaf", lambda db, s=seq: run(db, f"UPDATE events SET leaf = randomblob(32) WHERE seq = {s}")
    with closing(sqlite3.connect(made.home.db)) as db:
        disclosures = db.execute("SELECT rowid, seq, text FROM disclosures").fetchall()
    for row, seq, stored in disclosures:
        raw = bytearray(unb64url(stored.encode()))
        raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        changed = b64url(bytes(raw)).decode()
        yield "disclosure", lambda db, r=row, t=changed: put(db, "disclosures SET text = ? WHERE rowid", t, r)
        away = f"UPDATE disclosures SET seq = {seq - 1} WHERE rowid = {row}"
        yield "disclosure moved", lambda db, c=away: run(db, c)
        yield "disclosure named", lambda db, r=row: run(db, f"UPDATE disclosures SET name = 'agent' WHERE rowid = {r}")
    for kept, note in made.kept.items():
        for _ in range(8):
            at = dice.randrange(len(note) - 1)
            changed = note[:at] + ("x" if note[at] != "x" else "y") + note[at + 1 :]
            yield "checkpoint note", lambda db, k=kept, t=changed: put(db, "checkpoints SET note = ? WHERE size", t, k)
        for column, value in (("root", "randomblob(32)"), ("size", f"{kept + 1000}")):
            changed = f"UPDATE checkpoints SET {column} = {value} WHERE size = {kept}"
            yield f"checkpoint {column}", lambda db, c=changed: run(db, c)


def rows(made: Made) -> list[str]:
    with LogSource(made.home.db) as source:
        return [row.jws for row in source.rows()]


def text(db: sqlite3.Connection, seq: int) -> str:
    return str(db.execute("SELECT jws FROM events WHERE seq = ?", (seq,)).fetchone()[0])


def run(db: sqlite3.Connection, *statements: str) -> None:
    for statement in statements:
        db.execute(statement)


def put(db: sqlite3.Connection, where: str, value: str, key: int) -> None:
    db.execute(f"UPDATE {where} = ?", (value, key))


def copy(db: sqlite3.Connection, seq: int, place: int) -> None:
    columns = "call, recording, type, time, jws, leaf"
    db.execute(
        f"INSERT INTO events (seq, id, {columns}) SELECT {place}, 'new', {columns} FROM events WHERE seq = {seq}"
    )


def exchange(db: sqlite3.Connection, first: int, second: int) -> None:
    one, two = text(db, first), text(db, second)
    with_leaf(db, first, two)
    with_leaf(db, second, one)
