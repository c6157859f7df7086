# SPDX-License-Identifier: GPL-3.0-or-later
"""Which calls are up, who drives each, and what is being recorded: enough to say truly what was lost with a worker.

Pure bookkeeping: fed with every accepted event, asked when a connection drops or an unclean stop is found.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ivr.ledger.catalogue import TYPES
from ivr.ledger.errors import LedgerRefused
from ivr.ledger.log import Entry
from ivr.ledger.protocol import CALL_CLOSED, CALL_FOREIGN, INVALID

# Facts of each intact segment, in order: {n, start, samples, sha256, bytes}.
Segments = Sequence[Mapping[str, Any]]
# (call, recording) → what is on disk. Called in a thread.
Inventory = Callable[[str, str], Segments]

LOST = "lost"
# One JWS holds at most 65 535 bytes; a segment's facts take about 160 of them.
SEGMENTS_PER_EVENT = 250


@dataclass(slots=True)
class _Recording:
    number: Any
    rate: Any = 0
    """0 until the worker has said so: no key, no rate."""
    started: bool = False
    """From the permit on there may be segments, which the worker's word of its start need not have outlived."""


@dataclass(slots=True)
class _Call:
    owner: Hashable
    received: float
    at_ms: int = 0
    ended: bool = False
    recordings: dict[str, _Recording] = field(default_factory=dict)


class OpenCalls:
    """Calls from `call.received` to `call.ended` and the end of their recordings.

    Of each that was permitted: a recorder may open, and say so, long after the call when its storage hangs.
    """

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}

    def __contains__(self, call: object) -> bool:
        return call in self._calls

    def admit(self, entry: Entry, owner: Hashable) -> None:
        """Refuse what does not fit the life of its call. Raises LedgerRefused.

        Events about a finished call (access, erasure) need no open call; those of a running one do.
        """
        if entry.call is None or not TYPES[entry.type].of_call:
            return
        call = self._calls.get(entry.call)
        if entry.type == "call.received":
            if call is not None:
                raise LedgerRefused(INVALID, f"call {entry.call} was received already")
            return
        if call is None:
            if entry.type in ("recording.erased", "recording.not_erased"):
                return
            raise LedgerRefused(CALL_CLOSED, f"{entry.type}: call {entry.call} is over, was lost or never began")
        if call.owner is not owner:
            raise LedgerRefused(CALL_FOREIGN, f"{entry.type}: call {entry.call} belongs to another connection")
        if call.ended and not entry.type.startswith("recording."):
            raise LedgerRefused(CALL_CLOSED, f"{entry.type}: call {entry.call} has ended")

    def note(self, entry: Entry, owner: Hashable, now: float) -> None:
        """Keep track of an accepted entry. `now` is in seconds of the clock that entries_lost() will be given."""
        if entry.call is None:
            return
        if entry.type == "call.received" and entry.call not in self._calls:
            self._calls[entry.call] = _Call(owner, now)
        call = self._calls.get(entry.call)
        if call is None:
            return
        call.at_ms = max(call.at_ms, entry.data.get("at_ms", 0))  # type: ignore[type-var,assignment]
        recording = entry.data.get("recording")
        if entry.type == "recording.permitted":
            call.recordings[str(recording)] = _Recording(entry.data.get("number"))
        elif entry.type == "recording.started":
            call.recordings[str(recording)] = _Recording(entry.data.get("number"), entry.data.get("rate"), True)
        elif entry.type == "recording.stopped":
            call.recordings.pop(str(recording), None)
        elif entry.type in ("call.ended", "call.lost"):
            call.ended = True
        if call.ended and not call.recordings:
            del self._calls[entry.call]

    def claim(self, calls: Sequence[str], owner: Hashable) -> list[str]:
        """A worker says that it still drives these. Those that are no longer open are returned."""
        gone = [call for call in calls if call not in self._calls]
        for call in calls:
            if call in self._calls:
                self._calls[call].owner = owner
        return gone

    def of(self, owner: Hashable) -> list[str]:
        """The calls that this owner drives, oldest first."""
        return [name for name, call in self._calls.items() if call.owner is owner]

    def over(self, name: str) -> bool:
        """Whether an open call has ended, and only recordings of it have not."""
        return self._calls[name].ended

    def owned(self, name: str, owner: Hashable) -> bool:
        """Whether this call is open and nobody else drives it."""
        return name in self._calls and self._calls[name].owner is owner

    def drop(self, name: str) -> None:
        """All that can be said of a lost call has been said. Harmless when it is gone already."""
        self._calls.pop(name, None)

    def recordings(self, name: str) -> list[str]:
        """The recordings of a call that were permitted and have not stopped; none of one that is not open."""
        return list(self._calls[name].recordings) if name in self._calls else []

    def lose(self, name: str, found: Mapping[str, Segments], why: str, now: float) -> list[Entry]:
        """What the log must say of a call whose worker is gone: each recording's remains, then the loss itself."""
        call = self._calls[name]
        at_ms = max(call.at_ms, round((now - call.received) * 1000))
        entries: list[Entry] = []
        for recording, facts in call.recordings.items():
            segments = found.get(recording, ())
            if facts.started or segments:
                entries += _stopped(name, recording, facts, segments, at_ms)
        if not call.ended:
            entries.append(Entry("call.lost", name, {"at_ms": at_ms, "reason": why}))
        return entries


def _stopped(call: str, recording: str, facts: _Recording, found: Segments, at_ms: int) -> list[Entry]:
    """`recording.stopped` with the segments on disk; long lists go ahead in `recording.sealed` events."""
    segments = [dict(segment) for segment in found]
    entries: list[Entry] = []
    total = sum(int(segment.get("samples") or 0) for segment in segments)
    while len(segments) > SEGMENTS_PER_EVENT:
        part, segments = segments[:SEGMENTS_PER_EVENT], segments[SEGMENTS_PER_EVENT:]
        data = {"at_ms": at_ms, "recording": recording, "number": facts.number, "segments": part}
        entries.append(Entry("recording.sealed", call, data))
    data = {
        "at_ms": at_ms,
        "recording": recording,
        "number": facts.number,
        "reason": LOST,
        "rate": facts.rate,
        "samples": total,
        "spans": [],
        "segments": segments,
        "erased": False,
    }
    entries.append(Entry("recording.stopped", call, data))
    return entries
