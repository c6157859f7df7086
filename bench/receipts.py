# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m bench.receipts`: how long a receipt takes from a log of ten million events, and what an export needs.

The log is made of entries that nobody signed, as large as real ones; its table, tree, stored hashes and checkpoints
are made by the ledger's own code. Receipts and proofs are made, and checked, as `ivr log` does it.
"""

import random
import resource
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.figures import Against, Figure, Target
from ivr.audit.consistency import prove_extension
from ivr.audit.export import export
from ivr.audit.receipt import check_receipt, make_receipt
from ivr.audit.source import LogSource
from ivr.ledger.keys import LedgerKey
from ivr.ledger.nodes import Node, append_leaf
from ivr.ledger.note import Checkpoint, sign_note
from ivr.ledger.store import Store
from ivr.ledger.tree import Frontier, leaf_hash

ORIGIN = "bench.invalid/consent-log"
ENTRY_BYTES = 700
BATCH = 20_000
_EVENT = "INSERT INTO events VALUES (?, ?, ?, NULL, 'party.joined', '2026-01-02T12:15:30.123456Z', ?, ?)"
_GROUP = "proofs"


def build(path: Path, events: int, key: LedgerKey, progress: bool = False) -> float:
    """Make the log, one checkpoint in its middle and one at its end; gives the seconds that hashing took."""
    Store.create(path, {"origin": ORIGIN, "kid": key.kid}).close()
    db = sqlite3.connect(path, isolation_level=None)
    # Only the making is in a hurry; what is measured reads it like any other log.
    db.execute("PRAGMA synchronous=OFF")
    tree, hashing = Frontier.empty(), 0.0
    for start in range(0, events, BATCH):
        began = time.perf_counter()
        rows, nodes = _batch(tree, start, min(start + BATCH, events))
        hashing += time.perf_counter() - began
        db.execute("BEGIN")
        db.executemany(_EVENT, rows)
        db.executemany("INSERT INTO nodes VALUES (?, ?, ?)", nodes)
        if start <= events // 2 < start + BATCH or tree.size == events:
            root = tree.root()
            note = sign_note(Checkpoint(ORIGIN, tree.size, root).text(), key.vkey, key.sign)
            db.execute("INSERT INTO checkpoints VALUES (?, '', ?, ?, ?)", (tree.size, root, note, tree.to_bytes()))
        db.execute("COMMIT")
        if progress and start % (BATCH * 50) == 0:
            click.echo(f"{start} of {events} events", err=True)
    db.close()
    return hashing


def _batch(tree: Frontier, start: int, end: int) -> tuple[list[tuple[object, ...]], list[Node]]:
    rows: list[tuple[object, ...]] = []
    nodes: list[Node] = []
    for seq in range(start, end):
        entry = f"{seq:012d}".ljust(ENTRY_BYTES, "x")
        leaf = leaf_hash(entry.encode())
        nodes += append_leaf(tree, leaf)
        rows.append((seq, f"{seq:036d}", f"{seq // 20:036d}", entry, leaf))
    return rows, nodes


def measure(folder: Path, events: int, receipts: int = 300, progress: bool = False) -> Iterator[Figure]:
    """Receipts of events all over the log, each from a database that was just opened, and each checked."""
    key = LedgerKey.of(ORIGIN, Ed25519PrivateKey.generate())
    database = folder / "log.sqlite"
    hashing = build(database, events, key, progress)
    note = f"{events} events, {database.stat().st_size / 1e9:.1f} GB"
    yield Figure("tree and stored hashes, a leaf", "µs", [hashing / events * 1e6], None, note, _GROUP, 2)
    dice = random.Random(1)
    took, busy, checked = [], [], []
    for seq in (dice.randrange(events) for _ in range(receipts)):
        began, worked = time.perf_counter(), time.thread_time()
        with LogSource(database) as source:
            row, newest = source.event(str(seq)), source.newest_checkpoint()
            assert row is not None
            assert newest is not None
            receipt = make_receipt(source, row, newest)
        took.append((time.perf_counter() - began) * 1000)
        busy.append((time.thread_time() - worked) * 1000)
        began = time.perf_counter()
        assert check_receipt(receipt, [key.vkey]).index == seq
        checked.append((time.perf_counter() - began) * 1000)
    yield Figure("event → receipt", "ms", took, Target(10, Against.P95), note, _GROUP, 2)
    yield Figure("event → receipt, of it on the processor", "ms", busy, None, "thread time", _GROUP, 2)
    yield Figure("receipt → checked", "ms", checked, None, note, _GROUP, 2)
    yield _consistency(database, note)
    yield from _export(database, folder / "tiles", key, events)


def _consistency(database: Path, note: str) -> Figure:
    took = []
    for _ in range(20):
        began = time.perf_counter()
        with LogSource(database) as source:
            half = next(iter(source.checkpoints()))
            prove_extension(source, Checkpoint(ORIGIN, half.size, half.root))
        took.append((time.perf_counter() - began) * 1000)
    return Figure("half of the log → consistency proof", "ms", took, None, note, _GROUP, 2)


def _export(database: Path, folder: Path, key: LedgerKey, events: int) -> Iterator[Figure]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with LogSource(database) as source:
        done = export(source, [key.vkey], folder)
    took = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    note = f"{done.files} files in {took:.0f} s, on disk"
    yield Figure("events exported a second", "/s", [events / took], None, note, _GROUP, 0)
    yield Figure("memory that the export added", "MB", [grown], None, "greatest resident size", _GROUP, 1)


@click.command()
@click.option("--events", default=10_000_000, show_default=True, help="How long the log is.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where; 15 GB for ten million events.")
def main(events: int, folder: Path | None) -> None:
    """Build a log and measure proofs from it; what was built is removed."""
    place = Path(tempfile.mkdtemp(prefix="bench-receipts-", dir=folder))
    try:
        for figure in measure(place, events, progress=True):
            values = "  ".join(f"{one.value} {figure.at(one):.{figure.digits}f}" for one in Against)
            target = f"  target {figure.target}: {figure.verdict.value}" if figure.target else ""
            click.echo(f"{figure.name:40} {values} {figure.unit}  ({figure.note}){target}")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
