# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log says is on disk: gathered from the events of recordings while the log is verified."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ivr.audit.findings import Check, Finding
from ivr.audit.spill import Spill
from ivr.ledger.event import Event

LOST = "lost"
"""The reason of a `recording.stopped` that the ledger wrote for a worker that is gone."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One sealed segment as logged: number, first sample, samples, SHA-256 (hex) and length of the file."""

    n: int
    start: int
    samples: int
    sha256: str
    bytes: int

    @property
    def file(self) -> str:
        """The name the vault gives it."""
        return f"{self.n:06d}-{self.start:012d}-{self.samples:012d}.flac.age"


@dataclass(slots=True)
class Recording:
    """One recording. `stopped` is the event that closed its account; None while it runs.

    `started` is the first event that says that something was kept. `lost`: the worker never said so itself, and only
    the ledger can have found its segments.
    """

    call: str
    id: str
    started: int
    stopped: int | None = None
    samples: int = 0
    erased: int | None = None
    segments: dict[str, Segment] = field(default_factory=dict)
    lost: bool = False


@dataclass(slots=True)
class _Known:
    """What is known of a recording id: whether it was permitted, and the recording once it started."""

    permitted: bool
    recording: Recording | None


class Recordings:
    """By recording id. Only the newest are in memory (ivr.audit.spill): what is given out may be a copy."""

    def __init__(self) -> None:
        self._known = Spill(_packed, _unpacked)
        self._started = 0
        self._findings: list[Finding] = []

    def __iter__(self) -> Iterator[Recording]:
        return (known.recording for known in self._known if known.recording is not None)

    def __len__(self) -> int:
        return self._started

    def get(self, recording: str) -> Recording | None:
        """The recording, if the log knows it."""
        known = self._known.get(recording)
        return known.recording if known is not None else None

    def note(self, event: Event) -> None:
        """Take in what a verified event says of a recording."""
        if not event.type.startswith("recording."):
            return
        name, kind = event.data.get("recording"), event.type.removeprefix("recording.")
        if not isinstance(name, str) or event.call is None:
            return
        known = self._known.get(name) or _Known(permitted=False, recording=None)
        if kind == "permitted":
            known.permitted = True
        elif kind == "started":
            self._start(known, name, event)
        else:
            if known.recording is None and not self._found_later(known, name, event):
                return
            if known.recording is not None:
                self._follow(known.recording, kind, event)
        self._known.put(name, known)

    def contradictions(self) -> list[Finding]:
        """Where the events of a recording do not agree with each other."""
        found = list(self._findings)
        for one in self:
            if one.lost and one.stopped is None:
                place = f"recording {one.id}"
                found.append(Finding(Check.RECORDING, f"{place} never started", one.started, one.call, place))
            total = sum(segment.samples for segment in one.segments.values())
            if one.stopped is not None and one.erased is None and total != one.samples:
                what = f"{one.samples} samples are said to be kept, its segments hold {total}"
                found.append(Finding(Check.RECORDING, what, one.stopped, one.call, f"recording {one.id}"))
        return found

    def _start(self, known: _Known, name: str, event: Event) -> None:
        if not known.permitted:
            self._contradict(event, f"recording {name} was never permitted")
        if known.recording is None or known.recording.lost:
            self._started += known.recording is None
            known.recording = Recording(event.call or "", name, event.seq)

    def _found_later(self, known: _Known, name: str, event: Event) -> bool:
        """Whether the ledger found segments whose worker was lost before it could say that it had begun."""
        if event.type not in ("recording.sealed", "recording.stopped"):
            return False
        # One that was stopped before its first sample stops all the same, and keeps nothing.
        if known.permitted and not event.data.get("segments") and not event.data.get("samples"):
            return False
        lost = event.type == "recording.sealed" or event.data.get("reason") == LOST
        if not known.permitted or not lost:
            self._contradict(event, f"recording {name} never started")
            return False
        known.recording = Recording(event.call or "", name, event.seq, lost=True)
        self._started += 1
        return True

    def _follow(self, recording: Recording, kind: str, event: Event) -> None:
        data = event.data
        if kind in ("sealed", "stopped"):
            self._segments(recording, event)
        if kind == "stopped" and recording.lost and data.get("reason") != LOST:
            self._contradict(event, f"recording {recording.id} never started")
        if kind == "stopped":
            recording.stopped, recording.samples = event.seq, _whole(data.get("samples"))
        if kind == "erased" or (kind == "stopped" and data.get("erased") is True):
            recording.erased = event.seq

    def _segments(self, recording: Recording, event: Event) -> None:
        for fact in event.data.get("segments", ()):
            segment = _segment(fact)
            if segment is None:
                self._contradict(event, "a segment's facts are incomplete")
            elif segment.file in recording.segments:
                self._contradict(event, f"segment {segment.n} is logged twice")
            else:
                recording.segments[segment.file] = segment

    def _contradict(self, event: Event, what: str) -> None:
        place = f"recording {event.data.get('recording')}"
        self._findings.append(Finding(Check.RECORDING, what, event.seq, event.call, place))


def _segment(fact: Any) -> Segment | None:
    if not isinstance(fact, dict):
        return None
    values = [fact.get(name) for name in ("n", "start", "samples", "bytes")]
    digest = fact.get("sha256")
    if not isinstance(digest, str) or any(type(value) is not int for value in values):
        return None
    return Segment(fact["n"], fact["start"], fact["samples"], digest, fact["bytes"])


def _whole(value: Any) -> int:
    return value if type(value) is int else 0


def _packed(known: _Known) -> list[Any]:
    one = known.recording
    if one is None:
        return [known.permitted]
    segments = [[s.n, s.start, s.samples, s.sha256, s.bytes] for s in one.segments.values()]
    return [known.permitted, one.call, one.id, one.started, one.stopped, one.samples, one.erased, segments, one.lost]


def _unpacked(facts: list[Any]) -> _Known:
    if len(facts) == 1:
        return _Known(facts[0], None)
    permitted, call, name, started, stopped, samples, erased, segments, lost = facts
    by_file = {segment.file: segment for segment in (Segment(*values) for values in segments)}
    return _Known(permitted, Recording(call, name, started, stopped, samples, erased, by_file, lost))
