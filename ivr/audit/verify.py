# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the log what was signed? Signature, place, chain, tree, checkpoints, personal fields: in one pass over the events.

Works with the public key alone on a copy of the database, and holds one event in memory at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from ivr.audit.findings import Check, Finding
from ivr.audit.recordings import Recordings
from ivr.audit.source import CheckpointRow, DisclosureRow, EventRow, LogSource
from ivr.ledger.canonical import b64url
from ivr.ledger.event import Event, EventError, header_segment, key_id, match_disclosures, verify
from ivr.ledger.note import Checkpoint, NoteError, VKey, open_checkpoint
from ivr.ledger.tree import Frontier, leaf_hash

PROGRESS_EVERY = 1000


@dataclass(slots=True)
class Report:
    """The verdict. `sealed` events are covered by a stored checkpoint, the rest by the chain alone."""

    log: str
    events: int = 0
    calls: int = 0
    sealed: int = 0
    checkpoints: int = 0
    erased_fields: int = 0
    root: str = ""
    recordings: Recordings = field(default_factory=Recordings)
    findings: list[Finding] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint that somebody kept outside: its signed note, and where it came from."""

    note: str
    place: str


def verify_log(
    source: LogSource,
    vkey: VKey,
    kept: Sequence[Kept] = (),
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Report:
    """Check the whole log. Raises SourceError when it cannot be read; what does not hold is in the report."""
    return _Verifier(source, vkey, kept).run(on_progress)


class _Verifier:
    """The state of one pass."""

    def __init__(self, source: LogSource, vkey: VKey, kept: Sequence[Kept]) -> None:
        self._source = source
        self._vkey = vkey
        self._header = header_segment(key_id(vkey.public))
        self._report = Report(vkey.name)
        self._tree = Frontier.empty()
        self._expected = 0
        self._prev: str | None = None
        self._time = ""
        self._disclosures = _Grouped(source.disclosures())
        self._awaited = sorted([*self._stored(), *self._outside(kept)], key=lambda a: a.checkpoint.size)
        self._tree_differs = False

    def run(self, on_progress: Callable[[int, int], None]) -> Report:
        report = self._report
        self._meet_checkpoints()
        for row in self._source.rows():
            self._event(row)
            self._meet_checkpoints()
            report.events += 1
            if report.events % PROGRESS_EVERY == 0:
                on_progress(report.events, self._source.events)
        self._orphaned_disclosures(self._disclosures.rest())
        self._cut()
        self._report.findings += self._report.recordings.contradictions()
        report.root = self._tree.root().hex()
        on_progress(report.events, self._source.events)
        return report

    # -- one event --

    def _event(self, row: EventRow) -> None:
        jws = row.jws.encode() if isinstance(row.jws, str) else b""
        self._place(row)
        # What is hashed is what is there, valid or not: so the first checkpoint after a change shows it too.
        leaf = leaf_hash(jws)
        self._tree.append(leaf)
        prev, self._prev = self._prev, b64url(sha256(jws).digest()).decode()
        self._expected = row.seq + 1
        self._orphaned_disclosures(self._disclosures.before(row.seq))
        disclosures = self._disclosures.of(row.seq)
        try:
            event = verify(jws, self._header, self._vkey.public)
        except EventError as error:
            self._find(Check.EVENT, str(error), row)
            return
        self._order(row, event, prev)
        self._beside(row, event, leaf)
        self._personal(row, event, disclosures)
        if event.type == "call.received":
            self._report.calls += 1
        self._report.recordings.note(event)

    def _place(self, row: EventRow) -> None:
        if row.seq == self._expected:
            return
        if row.seq < self._expected:
            self._find(Check.ORDER, f"stands after event {self._expected - 1}", row)
            return
        gap = row.seq - self._expected
        what = f"event {self._expected} is" if gap == 1 else f"events {self._expected} to {row.seq - 1} are"
        self._find(Check.ORDER, f"{what} missing before it", row)

    def _order(self, row: EventRow, event: Event, prev: str | None) -> None:
        if event.log != self._vkey.name:
            self._find(Check.EVENT, f"is an event of the log {event.log!r}", row)
        if event.seq != row.seq:
            self._find(Check.ORDER, f"was signed as event {event.seq}", row)
        if event.prev != prev:
            self._find(Check.CHAIN, "is not chained to the event before it", row)
        if event.time < self._time:
            self._find(Check.TIME, f"its time {event.time} is before {self._time}", row)
        self._time = event.time

    def _beside(self, row: EventRow, event: Event, leaf: bytes) -> None:
        signed = (event.id, event.call, event.data.get("recording"), event.type, event.time)
        stored = (row.id, row.call, row.recording, row.type, row.time)
        if signed != stored:
            names = ("id", "call", "recording", "type", "time")
            wrong = [n for n, a, b in zip(names, signed, stored, strict=True) if a != b]
            self._find(Check.INDEX, "the column differs from the signed event", row, f"column {', '.join(wrong)}")
        if row.leaf != leaf:
            self._find(Check.INDEX, "the stored leaf hash is not that of the event", row, "column leaf")

    def _personal(self, row: EventRow, event: Event, disclosures: Sequence[DisclosureRow]) -> None:
        if not event.sd and not disclosures:
            return
        self._report.erased_fields += max(0, len(event.sd) - len(disclosures))
        try:
            found = match_disclosures(event, [d.text for d in disclosures])
        except EventError as error:
            self._find(Check.DISCLOSURE, str(error), row, ", ".join(d.name for d in disclosures))
            return
        for disclosure, stored in zip(found, disclosures, strict=True):
            if (disclosure.name, disclosure.digest) != (stored.name, stored.digest):
                self._find(Check.DISCLOSURE, "the columns differ from the signed field", row, disclosure.name)

    def _orphaned_disclosures(self, rows: Sequence[DisclosureRow]) -> None:
        for row in rows:
            self._report.findings.append(
                Finding(Check.DISCLOSURE, "belongs to no event of the log", event=row.seq, place=row.name)
            )

    # -- checkpoints --

    def _stored(self) -> Iterator["_Awaited"]:
        for row in self._source.checkpoints():
            self._report.checkpoints += 1
            place = f"checkpoint {row.size}"
            checkpoint = self._opened(row.note, place)
            if checkpoint is None:
                continue
            if (checkpoint.size, checkpoint.root) != (row.size, row.root):
                self._note(Check.CHECKPOINT, "the columns differ from the signed note", place)
            yield _Awaited(checkpoint, place, stored=True)
        if not self._report.checkpoints:
            self._note(Check.CHECKPOINT, "the log holds no checkpoint; every log has one from its creation on", None)

    def _outside(self, kept: Sequence[Kept]) -> Iterator["_Awaited"]:
        for one in kept:
            checkpoint = self._opened(one.note, one.place)
            if checkpoint is not None:
                yield _Awaited(checkpoint, one.place, stored=False)

    def _opened(self, note: str, place: str) -> Checkpoint | None:
        try:
            return open_checkpoint(note, self._vkey)
        except NoteError as error:
            self._note(Check.CHECKPOINT, str(error), place)
            return None

    def _meet_checkpoints(self) -> None:
        while self._awaited and self._awaited[0].checkpoint.size == self._tree.size:
            awaited = self._awaited.pop(0)
            if awaited.checkpoint.root == self._tree.root():
                self._report.sealed = max(self._report.sealed, awaited.checkpoint.size if awaited.stored else 0)
            elif awaited.stored and self._tree_differs:
                # Every later checkpoint differs too; the first one tells where.
                continue
            else:
                self._tree_differs = self._tree_differs or awaited.stored
                self._note(Check.TREE, self._between(awaited), awaited.place)

    def _between(self, awaited: "_Awaited") -> str:
        if not awaited.stored:
            return f"the first {awaited.checkpoint.size} events are not those that this checkpoint was made of"
        return f"an event from {self._report.sealed} to {awaited.checkpoint.size - 1} is not the one that was logged"

    def _cut(self) -> None:
        """What is left lies beyond the end of the log."""
        size = self._tree.size
        stored = [a for a in self._awaited if a.stored]
        for awaited in [*stored[-1:], *(a for a in self._awaited if not a.stored)]:
            missing = awaited.checkpoint.size - size
            what = f"the log has {size} events, {missing} fewer than this checkpoint"
            self._note(Check.CUT, f"{what}: its end was cut off, or events were taken out", awaited.place)

    def _find(self, check: Check, message: str, row: EventRow, place: str | None = None) -> None:
        self._report.findings.append(Finding(check, message, row.seq, row.call, place))

    def _note(self, check: Check, message: str, place: str | None) -> None:
        self._report.findings.append(Finding(check, message, place=place))


@dataclass(frozen=True, slots=True)
class _Awaited:
    checkpoint: Checkpoint
    place: str
    stored: bool


class _Grouped:
    """Disclosures, in step with the events."""

    def __init__(self, rows: Iterator[DisclosureRow]) -> None:
        self._rows = rows
        self._next: Any = next(rows, None)

    def before(self, seq: int) -> Sequence[DisclosureRow]:
        """Those of events that have been passed: nobody's."""
        if self._next is None or self._next.seq >= seq:
            return ()
        return self._take(lambda found: found < seq)

    def of(self, seq: int) -> Sequence[DisclosureRow]:
        """Those of this event."""
        if self._next is None or self._next.seq != seq:
            return ()
        return self._take(lambda found: found == seq)

    def rest(self) -> list[DisclosureRow]:
        """All that is left."""
        return self._take(lambda _found: True)

    def _take(self, wanted: Callable[[int], bool]) -> list[DisclosureRow]:
        taken = []
        while self._next is not None and wanted(self._next.seq):
            taken.append(self._next)
            self._next = next(self._rows, None)
        return taken


__all__ = ["CheckpointRow", "Kept", "Report", "verify_log"]
