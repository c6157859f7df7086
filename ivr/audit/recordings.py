# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log says is on disk: gathered from the events of recordings while the log is verified."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ivr.audit.findings import Check, Finding
from ivr.ledger.event import Event


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
    """One recording. `stopped` is the event that closed its account; None while it runs."""

    call: str
    id: str
    started: int
    stopped: int | None = None
    samples: int = 0
    erased: int | None = None
    segments: dict[str, Segment] = field(default_factory=dict)


class Recordings:
    """By recording id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Recording] = {}
        self._permitted: set[str] = set()
        self._findings: list[Finding] = []

    def __iter__(self) -> Iterator[Recording]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, recording: str) -> Recording | None:
        """The recording, if the log knows it."""
        return self._by_id.get(recording)

    def note(self, event: Event) -> None:
        """Take in what a verified event says of a recording."""
        if not event.type.startswith("recording."):
            return
        data, kind = event.data, event.type.removeprefix("recording.")
        name = data.get("recording")
        if not isinstance(name, str) or event.call is None:
            return
        if kind == "permitted":
            self._permitted.add(name)
            return
        if kind == "started":
            if name not in self._permitted:
                self._contradict(event, f"recording {name} was never permitted")
            self._by_id.setdefault(name, Recording(event.call, name, event.seq))
            return
        recording = self._by_id.get(name)
        if recording is None:
            # One that was stopped before its first sample stops all the same, and keeps nothing.
            kept = data.get("segments") or data.get("samples") or name not in self._permitted
            if kind == "sealed" or (kind == "stopped" and kept):
                self._contradict(event, f"recording {name} never started")
            return
        if kind in ("sealed", "stopped"):
            self._segments(recording, event)
        if kind == "stopped":
            recording.stopped, recording.samples = event.seq, _whole(data.get("samples"))
        if kind == "erased" or (kind == "stopped" and data.get("erased") is True):
            recording.erased = event.seq

    def contradictions(self) -> list[Finding]:
        """Where the events of a recording do not agree with each other."""
        found = list(self._findings)
        for one in self:
            total = sum(segment.samples for segment in one.segments.values())
            if one.stopped is not None and one.erased is None and total != one.samples:
                what = f"{one.samples} samples are said to be kept, its segments hold {total}"
                found.append(Finding(Check.RECORDING, what, one.stopped, one.call, f"recording {one.id}"))
        return found

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
