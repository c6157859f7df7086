# SPDX-License-Identifier: GPL-3.0-or-later
"""What must never be, looked at again and again: audio without a permit, files and log apart, late answers. Read only.

Quick on purpose: signatures and file contents are `ivr log verify`'s, presence and times are looked at here.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from ivr.audit.recordings import Recordings
from ivr.audit.source import LogSource, SourceError
from ivr.ledger.event import Event, EventError, peek

GRACE = timedelta(seconds=30)
"""How much longer than its interval a checkpoint may take."""

Archived = Callable[[str, str], Collection[str]]
"""(call, recording) → file names."""


def _nothing(_call: str, _recording: str) -> Collection[str]:
    return ()


_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Alarm(StrEnum):
    """What is wrong."""

    NO_PERMIT = "recording-without-permit"
    """A recording was started that no permit before it allows. Must never be."""
    FILE_MISSING = "file-missing"
    """A logged segment is not on disk, and its recording was not erased."""
    FILE_UNKNOWN = "file-without-event"
    """A file among the recordings that no event tells of."""
    NOT_ERASED = "not-erased"
    """A file of a recording that was erased according to the log."""
    ERASURE_OWED = "erasure-owed"
    """A recording that was to be erased is still there: the storage refused, or the worker died over it.
    `ivr retention run` erases it."""
    REQUEST_OVERDUE = "request-overdue"
    """A person's request is open past its last day."""
    CHECKPOINT_LATE = "checkpoint-late"
    """Events wait longer for a checkpoint than was set: the ledger stands still, or cannot write."""


@dataclass(frozen=True, slots=True)
class Raised:
    """One alarm: `what` is it about, `message` says it in words."""

    alarm: Alarm
    what: str
    message: str

    def __str__(self) -> str:
        return f"{self.alarm}: {self.what}: {self.message}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def watch(
    source: LogSource, folder: Path, now: datetime, checkpoint_interval: timedelta, archived: Archived = _nothing
) -> list[Raised]:
    """Everything that is wrong now. Raises SourceError when log or folder cannot be read.

    `archived`: which files of a recording are known to be in an archive; it is not asked whether they still are.
    """
    recordings, permits = Recordings(), set[str]()
    raised = list(_recordings(source, recordings, permits, now))
    try:
        raised += [*_missing(folder, recordings, archived), *_unknown(folder, recordings, permits)]
    except OSError as error:
        raise SourceError(f"{error.filename}: {error.strerror}") from None
    return [*raised, *_requests(source, now), *_checkpoint(source, now, checkpoint_interval)]


def _events(source: LogSource, beginning: str) -> Iterator[Event]:
    for row in source.rows_of(beginning):
        try:
            yield peek(row.jws)
        except EventError as error:
            raise SourceError(f"event {row.seq}: {error}; run: ivr log verify") from None


@dataclass(slots=True)
class _Owed:
    """What was to be erased and was not: as the worker said itself, or by a withdrawal that nobody followed."""

    withdrawals: dict[str | None, Event]
    refused: dict[str, Event] = field(default_factory=dict)
    withdrawn: dict[str, Event] = field(default_factory=dict)
    since: dict[str, str] = field(default_factory=dict)

    def note(self, name: str, event: Event) -> None:
        withdrawal = self.withdrawals.get(event.call)
        if event.type == "recording.permitted" and withdrawal is not None and event.seq < withdrawal.seq:
            self.withdrawn[name] = withdrawal
        elif event.type == "recording.stopped" and name in self.withdrawn:
            self.since[name] = max(event.time, self.withdrawn[name].time)
        elif event.type == "recording.not_erased":
            self.refused[name] = event
        elif event.type == "recording.erased":
            self.refused.pop(name, None)

    def raised(self, recordings: Recordings, now: datetime) -> Iterator[Raised]:
        for name, event in self.refused.items():
            what = f"was to be erased (event {event.seq}), and the storage refused: {event.data.get('error')}"
            yield Raised(Alarm.ERASURE_OWED, f"recording {name}", what)
        for name, time in self.since.items():
            one = recordings.get(name)
            # A worker that is well takes a moment.
            if name in self.refused or one is None or one.erased is not None:
                continue
            if now - datetime.fromisoformat(time) > GRACE:
                what = f"was to be erased by a withdrawal (event {self.withdrawn[name].seq}), and nobody did"
                yield Raised(Alarm.ERASURE_OWED, f"recording {name}", what)


def _withdrawals(source: LogSource) -> dict[str | None, Event]:
    """By call the newest withdrawal that destroys what was recorded before it, as the call's policy says."""
    withdrawn = list(_events(source, "consent.withdrawn"))
    if not withdrawn:
        return {}
    calls = {event.call for event in withdrawn}
    asked = [event for event in _events(source, "consent.asked") if event.call in calls]
    erases: set[str | None] = set()
    found: dict[str | None, Event] = {}
    for event in sorted([*asked, *withdrawn], key=lambda one: one.seq):
        policy = event.data.get("policy")
        if event.type == "consent.withdrawn":
            found |= {event.call: event} if event.call in erases else {}
        elif isinstance(policy, dict) and policy.get("on_withdraw") == "erase":
            erases.add(event.call)
        else:
            erases.discard(event.call)
    return found


def _recordings(source: LogSource, recordings: Recordings, permits: set[str], now: datetime) -> Iterator[Raised]:
    permitted: set[tuple[str | None, str]] = set()
    owed = _Owed(_withdrawals(source))
    for event in _events(source, "recording."):
        name = str(event.data.get("recording"))
        if event.type == "recording.permitted":
            permitted.add((event.call, name))
            permits.add(name)
        elif event.type == "recording.started" and (event.call, name) not in permitted:
            yield Raised(Alarm.NO_PERMIT, f"recording {name}", f"event {event.seq} of call {event.call} has no permit")
        owed.note(name, event)
        recordings.note(event)
    yield from owed.raised(recordings, now)


def _missing(folder: Path, recordings: Recordings, archived: Archived) -> Iterator[Raised]:
    for one in recordings:
        if one.erased is not None:
            continue
        home = folder / one.call / one.id
        gone = [segment for segment in one.segments.values() if not (home / segment.file).is_file()]
        if gone:
            there = archived(one.call, one.id)
            gone = [segment for segment in gone if segment.file not in there]
        if gone:
            what = f"{len(gone)} of {len(one.segments)} segments are not on disk, the first is {gone[0].n}"
            yield Raised(Alarm.FILE_MISSING, f"recording {one.id}", what)


def _unknown(folder: Path, recordings: Recordings, permits: set[str]) -> Iterator[Raised]:
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder of recordings")
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        parts = path.relative_to(folder).parts
        name = parts[1] if len(parts) == 3 and _ID.fullmatch(parts[1]) else ""
        one = recordings.get(name)
        if one is None:
            # Between permit and start the recorder opens; its files are no strays then.
            if name not in permits:
                yield Raised(Alarm.FILE_UNKNOWN, "/".join(parts), "belongs to no event of the log")
        elif one.erased is not None:
            yield Raised(Alarm.NOT_ERASED, "/".join(parts), f"was erased by event {one.erased}")
        elif one.stopped is not None and path.name not in one.segments:
            yield Raised(Alarm.FILE_UNKNOWN, "/".join(parts), "is not among the logged segments")


def _requests(source: LogSource, now: datetime) -> Iterator[Raised]:
    open_requests: dict[str, str] = {}
    for event in _events(source, "subject.request."):
        request = str(event.data.get("request"))
        if event.type == "subject.request.opened":
            open_requests[request] = str(event.data.get("due"))
        elif event.type == "subject.request.closed":
            open_requests.pop(request, None)
    today = now.date().isoformat()
    for request, due in open_requests.items():
        if today > due:
            yield Raised(Alarm.REQUEST_OVERDUE, f"request {request}", f"was to be answered by {due}")


def _checkpoint(source: LogSource, now: datetime, interval: timedelta) -> Iterator[Raised]:
    newest = source.newest_checkpoint()
    size = newest.size if newest else 0
    first = next(source.rows_from(size, size + 1), None)
    if first is not None:
        waited = now - datetime.fromisoformat(first.time)
        if waited > interval + GRACE:
            what = f"waits since {first.time} for a checkpoint; the newest is of {size} events"
            yield Raised(Alarm.CHECKPOINT_LATE, f"event {first.seq}", what)
