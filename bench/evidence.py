# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the log takes events, and how fast an auditor gets through it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from bench.figures import Against, Figure, Target
from demo.server import Server
from ivr.audit.replay import replay
from ivr.audit.source import LogSource
from ivr.audit.verified import verified_events
from ivr.audit.verify import verify_log
from ivr.ledger.keys import load_vkey

_GROUP = "evidence"


def armed(server: Server) -> Figure:
    """How long the permits of the calls so far took, as the worker logged it."""
    server.log.poll()
    waits = [e.data["waited_us"] / 1000 for e in server.log.events if e.type == "recording.armed"]
    target = Target(20, Against.P95)
    return Figure("permit → acknowledgement, in calls", "ms", waits, target, "recording.armed", _GROUP)


def appended(server: Server, seconds: float) -> Iterator[Figure]:
    """Whole calls' events, appended by 1, 8 and 64 writers that wait for each acknowledgement."""
    template = _recorded_call(server)
    for writers in (1, 8, 64):
        result = _write(server, writers, seconds, template)
        if writers == 1:
            name = "request → durable acknowledgement, one writer"
            yield Figure(name, "ms", result["waits_ms"], Target(20, Against.P95), "LedgerClient", _GROUP, 2)
        target = Target(2000, at_least=True) if writers == 64 else None
        note = f"{result['events']} events in {result['seconds']:.1f} s"
        name = f"durable events a second, {writers} writer{'s' if writers > 1 else ''}"
        yield Figure(name, "/s", [result["events"] / result["seconds"]], target, note, _GROUP, 0)


def _recorded_call(server: Server) -> list[Mapping[str, Any]]:
    """The events of a recorded call of this log: what a ledger really gets."""
    server.log.poll()
    stopped = next(e for e in server.log.events if e.type == "recording.stopped" and not e.data["erased"])
    events = server.log.of(str(stopped.call))
    return [{"type": e.type, "data": dict(e.data), "personal": dict(e.personal)} for e in events]


def _write(server: Server, writers: int, seconds: float, template: list[Mapping[str, Any]]) -> dict[str, Any]:
    socket = server.folder / "run" / "ledger.sock"
    command = [sys.executable, "-m", "bench.writers", str(socket), str(writers), str(seconds)]
    done = subprocess.run(
        command, input=json.dumps(template), capture_output=True, text=True, timeout=seconds + 60, check=False
    )
    if done.returncode:
        raise AssertionError(f"the writers failed: {done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def audited(server: Server, repeats: int) -> Iterator[Figure]:
    """The whole log of a server that has stopped, verified and replayed on one core. It must hold."""
    vkey = load_vkey(server.folder / "keys")
    verified: list[float] = []
    replayed: list[float] = []
    for _ in range(repeats):
        with LogSource(server.folder / "data" / "log.sqlite") as source:
            began = time.thread_time()
            report = verify_log(source, vkey)
            verified.append(report.events / (time.thread_time() - began))
            began = time.thread_time()
            again = replay(verified_events(source, vkey))
            replayed.append(source.events / (time.thread_time() - began))
        if not report.holds or not again.holds:
            raise AssertionError(f"the log does not hold: {[*report.findings, *again.differences][:3]}")
    note = f"a log of {report.events} events, {report.calls} calls"
    yield Figure("events verified a second, one core", "/s", verified, Target(20_000, at_least=True), note, _GROUP, 0)
    yield Figure("events verified and replayed a second", "/s", replayed, None, note, _GROUP, 0)
