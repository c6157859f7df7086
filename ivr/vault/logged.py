# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log says of a recording, to compare with what is on disk. Reads the database, never writes it."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.ledger.event import EventError, header_segment, key_id, verify
from ivr.ledger.note import VKey
from ivr.vault.errors import Damaged, VaultUnwritable
from ivr.vault.segments import SegmentFact


@dataclass(frozen=True, slots=True)
class Logged:
    """The signed `recording.stopped`: what was kept, and why it ended."""

    rate: int
    samples: int
    segments: tuple[SegmentFact, ...]
    reason: str
    erased: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One segment in which log and disk do not agree."""

    segment: int
    what: str


def logged(database: Path, vkey: VKey, recording: str) -> Logged | None:
    """The newest `recording.stopped` of this recording, its signature checked; None while it runs or when it was lost.

    Raises VaultUnwritable when the log cannot be read, Damaged when the event does not hold.
    """
    query = "SELECT jws FROM events WHERE recording = ? AND type = 'recording.stopped' ORDER BY seq DESC LIMIT 1"
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute(query, (recording,)).fetchone()
    except sqlite3.Error as error:
        raise VaultUnwritable(f"cannot read the log: {error}", database, "is this the folder of a server?") from error
    if row is None:
        return None
    try:
        event = verify(row[0].encode(), header_segment(key_id(vkey.public)), vkey.public)
        if event.type != "recording.stopped" or event.data["recording"] != recording:
            raise EventError(f"it is a {event.type} of another recording")
        return _logged(dict(event.data))
    except (EventError, KeyError, TypeError) as error:
        raise Damaged(f"the log's event does not hold: {error}", recording, "run `ivr log verify`") from error


def _logged(data: dict[str, Any]) -> Logged:
    names = ("n", "start", "samples", "sha256", "bytes")
    segments = tuple(SegmentFact(*(segment[name] for name in names)) for segment in data["segments"])
    return Logged(data["rate"], data["samples"], segments, data["reason"], bool(data["erased"]))


def compare(logged_facts: tuple[SegmentFact, ...], on_disk: tuple[SegmentFact, ...]) -> list[Finding]:
    """Each segment that is missing, changed, or on disk without being in the log."""
    disk = {fact.n: fact for fact in on_disk}
    found = [
        Finding(fact.n, "missing" if fact.n not in disk else "changed")
        for fact in logged_facts
        if disk.get(fact.n) != fact
    ]
    known = {fact.n for fact in logged_facts}
    return found + [Finding(fact.n, "not in the log") for fact in on_disk if fact.n not in known]
