# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away log with a key, real events of a recorded call, and a service to talk to."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ivr.audit.files import check_files
from ivr.audit.findings import Finding
from ivr.audit.source import LogSource
from ivr.audit.verify import Kept, Report, verify_log
from ivr.ledger.keys import LedgerKey, create_keys, load_ledger_key, load_pseudonym_key
from ivr.ledger.log import Entry, Log
from ivr.ledger.note import VKey
from ivr.ledger.running import run_ledger
from ivr.ledger.service import ServiceSettings

ORIGIN = "example.org/consent-log"
CALL = "01a1ffd6-be82-7d3f-ab83-a1fd14cfaf06"
RECORDING = "01a1ffd6-be92-7d6c-b3f4-b9f57d7751c7"


@dataclass(frozen=True)
class Home:
    """Where a test's log, keys, socket and recordings are."""

    path: Path

    @property
    def db(self) -> Path:
        return self.path / "log.sqlite"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def socket(self) -> Path:
        return self.path / "s"

    @property
    def recordings(self) -> Path:
        return self.path / "recordings"

    @property
    def vkey(self) -> VKey:
        return VKey.read(self.keys / "ledger.vkey")

    @property
    def key(self) -> LedgerKey:
        return load_ledger_key(self.keys)

    def open(self, **more: Any) -> Log:
        return Log.open(self.db, self.key, load_pseudonym_key(self.keys), **more)

    def append(self, entries: Sequence[Entry], *, checkpoint: bool = True) -> None:
        log = self.open()
        log.append(entries, checkpoint=checkpoint)
        log.close()

    def run(self, statement: str, *values: object) -> list[Any]:
        """SQL behind the ledger's back: `?` for values, `zeros` for 32 zero bytes. See database_kit.Base."""
        with closing(sqlite3.connect(self.db)) as db, db:
            return db.execute(statement.replace("zeros", "zeroblob(32)"), values).fetchall()

    def verify(self, *kept: str, files: bool = False) -> list[Finding]:
        report = self.report(*kept)
        return report.findings + (check_files(self.recordings, report.recordings) if files else [])

    def report(self, *kept: str) -> Report:
        with LogSource(self.db) as source:
            return verify_log(source, self.vkey, [Kept(note, f"kept {n}") for n, note in enumerate(kept)])


def make_home(path: Path) -> Home:
    """A new log: log.created, key.added and a checkpoint."""
    home = Home(path)
    home.keys.mkdir()
    home.recordings.mkdir()
    key = create_keys(home.keys, ORIGIN)
    Log.create(home.db, key, load_pseudonym_key(home.keys)).close()
    return home


def received(call: str = CALL) -> Entry:
    data: dict[str, Any] = {"at_ms": 0, "flow": "main", "worker": "worker-1", "flow_sha256": "00"}
    return Entry("call.received", call, data, {"caller": "sip:+4930123456@example.org", "dialled": "100"})


def ended(call: str = CALL) -> Entry:
    return Entry("call.ended", call, {"at_ms": 9000, "outcome": "completed", "reason": "caller"})


def joined(call: str = CALL, at_ms: int = 5) -> Entry:
    return Entry("party.joined", call, {"at_ms": at_ms, "party": "caller"}, {"address": "sip:a@example.org"})


def permitted(call: str = CALL, recording: str = RECORDING) -> Entry:
    data: dict[str, Any] = {
        "at_ms": 10,
        "recording": recording,
        "parties": ["caller"],
        "number": 1,
        "reason": "not_objected",
    }
    return Entry("recording.permitted", call, data)


def started(call: str = CALL, recording: str = RECORDING) -> Entry:
    data: dict[str, Any] = {"at_ms": 20, "recording": recording, "number": 1, "rate": 8000, "recipient": "age1test"}
    return Entry("recording.started", call, data)


def stopped(segments: Sequence[Mapping[str, Any]], **changed: Any) -> Entry:
    data: dict[str, Any] = {
        "at_ms": 8000,
        "recording": RECORDING,
        "number": 1,
        "reason": "ended",
        "rate": 8000,
        "samples": sum(s["samples"] for s in segments),
        "spans": [],
        "segments": [dict(s) for s in segments],
        "erased": False,
    }
    return Entry("recording.stopped", CALL, data | changed)


def write_segments(home: Home, count: int = 3) -> list[dict[str, Any]]:
    """Files as the vault names them, and their facts as it reports them."""
    folder = home.recordings / CALL / RECORDING
    folder.mkdir(parents=True, exist_ok=True)
    facts = []
    for n in range(count):
        content = f"sealed {n}".encode() * 50
        (folder / f"{n:06d}-{n * 16000:012d}-{16000:012d}.flac.age").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        facts.append({"n": n, "start": n * 16000, "samples": 16000, "sha256": digest, "bytes": len(content)})
    return facts


def recorded_call(home: Home) -> list[dict[str, Any]]:
    """A whole recorded call in the log, and its three segments on disk."""
    facts = write_segments(home)
    home.append([received(), joined(), permitted(), started(), stopped(facts), ended()])
    return facts


def message(entry: Entry, n: int = 1, **more: Any) -> dict[str, Any]:
    """The entry as a worker sends it."""
    return {
        "op": "append",
        "n": n,
        "id": entry.id,
        "type": entry.type,
        "call": entry.call,
        "data": dict(entry.data),
        "personal": dict(entry.personal),
    } | more


@asynccontextmanager
async def serving(
    home: Home, inventory: Callable[[str, str], Sequence[Mapping[str, Any]]] = lambda _call, _recording: [], **more: Any
) -> AsyncIterator[asyncio.Event]:
    """A ledger in this event loop; stopped in order at the end. Errors of the ledger are raised at the end."""
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = replace(ServiceSettings(home.socket, reclaim_seconds=0.05, start_grace_seconds=0.05), **more)
    task = asyncio.create_task(run_ledger(home.db, home.keys, settings, inventory, stop=stop, on_ready=ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
    try:
        yield stop
    finally:
        stop.set()
        await task


def types(home: Home) -> list[str]:
    """The types of all events, in order."""
    with LogSource(home.db) as source:
        return [row.type for row in source.rows()]


async def until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait for a condition; on time-out say which."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        await asyncio.sleep(0.01)
