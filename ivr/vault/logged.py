# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log says of a recording, to compare with what is on disk. Reads the database, never writes it."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from ivr.ledger.database import Database
from ivr.ledger.event import Event, EventError
from ivr.ledger.keyring import KeyRing
from ivr.ledger.reading import ReadError, open_reading
from ivr.vault.errors import Damaged, VaultUnwritable
from ivr.vault.segments import SegmentFact

_FIELDS = ("n", "start", "samples", "sha256", "bytes")


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


def logged(database: Database, keys: KeyRing, recording: str) -> Logged | None:
    """The `recording.stopped` of this recording, signatures checked; None while it runs or when it was lost.

    A log entry holds at most 64 KiB, about 350 segments: events before it may have named the earlier ones already.
    Raises VaultUnwritable when the log cannot be read, Damaged when an event does not hold.
    """
    query = "SELECT jws FROM events WHERE recording = ? ORDER BY seq"
    try:
        with closing(open_reading(database, snapshot=False)) as reading:
            rows = reading.all(query, (recording,))
    except ReadError as error:
        raise VaultUnwritable(f"cannot read the log: {error}", database, "is this the folder of a server?") from error
    try:
        events = [keys.verify(row[0].encode()) for row in rows]
        if any(event.data["recording"] != recording for event in events):
            raise EventError("it is of another recording")
        return _logged(events)
    except (EventError, KeyError, TypeError) as error:
        raise Damaged(f"the log's event does not hold: {error}", recording, "run `ivr log verify`") from error


def _logged(events: Sequence[Event]) -> Logged | None:
    stopped = next((event.data for event in reversed(events) if event.type == "recording.stopped"), None)
    if stopped is None:
        return None
    named: dict[int, SegmentFact] = {}
    for event in events:
        listed = event.data.get("segments")
        if isinstance(listed, list):  # recording.erased has a number there
            named |= {item["n"]: SegmentFact(*(item[name] for name in _FIELDS)) for item in listed}
    # A withdrawal may have taken back segments that were named before.
    kept = tuple(named[n] for n in sorted(named) if named[n].end <= stopped["samples"])
    return Logged(stopped["rate"], stopped["samples"], kept, stopped["reason"], bool(stopped["erased"]))


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
