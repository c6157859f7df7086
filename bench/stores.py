# SPDX-License-Identifier: GPL-3.0-or-later
"""Durable events a second with the log in SQLite and in PostgreSQL, by 1, 8 and 64 writers, each on its own connection.

`python -m bench.stores [URL] [SECONDS]`: with URL, a schema `bench_…` is made there and dropped again. The CPU time
is the ledger's alone; PostgreSQL's own processes take more beside it.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ivr.ledger.database import Database, Postgres
from ivr.ledger.ids import uuid7
from ivr.ledger.keeping import PersonalSettings
from ivr.ledger.keys import create_keys, load_pseudonym_key
from ivr.ledger.log import Log
from ivr.ledger.running import run_ledger
from ivr.ledger.service import ServiceSettings

# The events of a short recorded call, as a worker sends them; the pauses between them are left out.
_CALL = [
    {"type": "call.received", "data": {"at_ms": 0, "flow": "main", "worker": "w0", "flow_sha256": "00"},
     "personal": {"caller": "sip:+4930123456@example.org", "dialled": "100", "sip_call_id": "a@b"}},
    {"type": "call.answered", "data": {"at_ms": 9, "key_paths": ["rfc4733"], "codec": "PCMA"}, "personal": {}},
    {"type": "party.joined", "data": {"at_ms": 10, "party": "caller"}, "personal": {"address": "sip:a@example.org"}},
    {"type": "recording.permitted", "personal": {}, "data": {
        "at_ms": 20, "recording": "", "parties": ["caller"], "number": 1, "reason": "not_objected"}},
    {"type": "recording.armed", "data": {"at_ms": 30, "number": 1, "waited_us": 900}, "personal": {}},
    {"type": "recording.started", "personal": {}, "data": {
        "at_ms": 40, "recording": "", "number": 1, "rate": 8000, "recipient": "age1"}},
    {"type": "recording.stopped", "personal": {}, "data": {
        "at_ms": 900, "recording": "", "number": 1, "reason": "hangup", "rate": 8000, "samples": 0, "spans": [],
        "segments": [], "erased": False}},
    {"type": "call.ended", "data": {"at_ms": 999, "outcome": "completed", "reason": "hangup"}, "personal": {}},
]  # fmt: skip


def _measured(place: Database, folder: Path, seconds: float) -> Iterator[str]:
    for name in ("keys", "subjects"):
        (folder / name).mkdir()
    key = create_keys(folder / "keys", "example.org/bench")
    personal = PersonalSettings(folder / "subjects", "DE")
    Log.create(place, key, load_pseudonym_key(folder / "keys"), personal).close()
    settings = ServiceSettings(folder / "s", personal=personal)
    for writers in (1, 8, 64):
        events, took, cpu, waits = asyncio.run(_served(place, folder, settings, writers, seconds))
        p95 = sorted(waits)[int(len(waits) * 0.95)]
        yield (
            f"{writers:3} writers: {events / took:7.0f} events/s, answer p50 {sorted(waits)[len(waits) // 2]:.1f} ms "
            f"p95 {p95:.1f} ms, ledger {cpu / events * 1e6:.0f} µs CPU an event"
        )


async def _served(
    place: Database, folder: Path, settings: ServiceSettings, writers: int, seconds: float
) -> tuple[int, float, float, list[float]]:
    stop, ready = asyncio.Event(), asyncio.Event()
    ledger = asyncio.create_task(
        run_ledger(place, folder / "keys", settings, lambda _c, _r: [], stop=stop, on_ready=ready.set)
    )
    await ready.wait()
    before = time.process_time()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.writers", str(settings.socket), str(writers), str(seconds),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate(json.dumps(_CALL).encode())
    cpu = time.process_time() - before
    stop.set()
    await ledger
    result = json.loads(out)
    return result["events"], result["seconds"], cpu, result["waits_ms"]


def main() -> None:
    words = sys.argv[1:]
    url = words.pop(0) if words and "://" in words[0] else None
    seconds = float(words[0]) if words else 5.0
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        place: Database = Path(folder) / "log.sqlite"
        if url is not None:
            place = Postgres.parse(f"{url}{'&' if '?' in url else '?'}schema=bench_{uuid7()[-12:]}")
        print(place)
        for line in _measured(place, Path(folder), seconds):
            print(line, flush=True)
        if isinstance(place, Postgres):
            import psycopg

            with psycopg.connect(place.conninfo, autocommit=True) as db:
                db.execute(f"DROP SCHEMA {place.schema} CASCADE")


if __name__ == "__main__":
    main()
