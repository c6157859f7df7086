# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person outside gets of a call: a receipt that anybody can check, a report, and an erasure on request."""

import time
from collections.abc import Iterator
from pathlib import Path

from demo.server import Server, ivr
from ivr.ledger.query import ShownEvent

CHECKPOINT_S = 15.0
"""The demo's ledger signs a checkpoint every 2 s; this is how long the one that covers the permit is waited for."""


def receipt(server: Server, event: ShownEvent, folder: Path) -> Iterator[str]:
    """A receipt of the permit, checked with the verifier key alone; and that it is worth nothing under another key."""
    file = folder / "permit.tlog-proof"
    deadline = time.monotonic() + CHECKPOINT_S
    made = server.ivr("log", "receipt", str(event.seq), "--output", file)
    while made.status and time.monotonic() < deadline:  # until a checkpoint covers the event
        time.sleep(0.5)
        made = server.ivr("log", "receipt", str(event.seq), "--output", file)
    if made.status:
        yield f"ivr log receipt ended with {made.status}: {made.err.strip()}"
        return
    vkey = (server.folder / "keys" / "ledger.vkey").read_text().strip()
    yield from _failed("log check-receipt", ivr("log", "check-receipt", file, "--vkey", vkey).status, 0)
    text = file.read_text()
    index = f"index {event.seq}\n"
    if index not in text:
        yield f"the receipt does not say {index.strip()!r}"
        return
    forged = folder / "forged.tlog-proof"
    forged.write_text(text.replace(index, f"index {event.seq - 1}\n"))
    forged_status = ivr("log", "check-receipt", forged, "--vkey", vkey).status
    yield from _failed("log check-receipt of a forged receipt", forged_status, 1)


def report(server: Server, call: str, folder: Path) -> Iterator[str]:
    """The report of a call with the sound of both parties, as one file that loads nothing."""
    file = folder / "report.html"
    officer = server.folder / "keys" / "officer.age"
    why = ("--identity", officer, "--reason", "demo: a report to hand over")
    yield from _failed("call report", server.ivr("call", "report", call, *why, "--output", file).status, 0)
    page = file.read_text() if file.is_file() else ""
    if "<svg" not in page or "recorded" not in page.lower():
        yield "the report has no picture or no verdict"


def erasure(server: Server, recording: str, folder: Path) -> Iterator[str]:
    """The recording is erased; afterwards not even the officer can open it."""
    officer = server.folder / "keys" / "officer.age"
    who = ("--identity", officer, "--reason", "demo: erasure was asked for")
    yield from _failed("erase", server.ivr("erase", "--recording", recording, *who).status, 0)
    again = server.ivr(
        "recording", "export", recording, *who, "--format", "wav", "--output", folder / "should-not-be.wav"
    )
    if again.status == 0 or (folder / "should-not-be.wav").exists():
        yield "a recording that was erased could still be opened"
    left = [path for path in server.folder.glob("data/**/*") if recording in path.name]
    if left:
        yield f"erasure left {', '.join(path.name for path in left)}"


def _failed(what: str, status: int, expected: int) -> Iterator[str]:
    if status != expected:
        yield f"ivr {what} ended with {status}, not {expected}"
