# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the log what was signed? Signature, place, chain, tree, checkpoints, personal fields: in one pass over the events.

Works with the public key alone on a copy of the database, and holds one event in memory at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from ivr.audit.checkpoints import Checkpoints, Kept
from ivr.audit.findings import Check, Finding
from ivr.audit.keys import Source, TrustedKeys
from ivr.audit.recordings import Recordings
from ivr.audit.source import DisclosureRow, EventRow
from ivr.ledger.canonical import b64url
from ivr.ledger.event import Event, EventError, match_disclosures, verify
from ivr.ledger.nodes import Node, append_leaf, complete
from ivr.ledger.note import VKey
from ivr.ledger.sealed import PREFIX
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
    sealed_fields: int = 0
    root: str = ""
    recordings: Recordings = field(default_factory=Recordings)
    findings: list[Finding] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def verify_log(
    source: Source,
    vkey: VKey,
    kept: Sequence[Kept] = (),
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
    on_call: Callable[[str], None] = lambda _call: None,
) -> Report:
    """Check the whole log. Raises SourceError when it cannot be read; what does not hold is in the report.

    `on_call` is told the id of every call that it has.
    """
    return _Verifier(source, vkey, kept, on_call).run(on_progress)


class _Verifier:
    """The state of one pass."""

    def __init__(self, source: Source, vkey: VKey, kept: Sequence[Kept], on_call: Callable[[str], None]) -> None:
        self._source = source
        self._vkey = vkey
        self._on_call = on_call
        self._keys = TrustedKeys(source, vkey)
        self._report = Report(vkey.name)
        self._tree = Frontier.empty()
        self._expected = 0
        self._prev: str | None = None
        self._time = ""
        self._disclosures = _Grouped(source.disclosures())
        self._checkpoints = Checkpoints(source, kept, self._keys, self._note)
        self._check_nodes = source.nodes() is not None

    def run(self, on_progress: Callable[[int, int], None]) -> Report:
        report = self._report
        self._checkpoints.meet(self._tree)
        for row in self._source.rows():
            self._event(row)
            self._checkpoints.meet(self._tree)
            report.events += 1
            if report.events % PROGRESS_EVERY == 0:
                on_progress(report.events, self._source.events)
        self._orphaned_disclosures(self._disclosures.rest())
        self._at_the_end()
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
        for node in append_leaf(self._tree, leaf):
            self._node(node)
        prev, self._prev = self._prev, b64url(sha256(jws).digest()).decode()
        self._expected = row.seq + 1
        self._orphaned_disclosures(self._disclosures.before(row.seq))
        disclosures = self._disclosures.of(row.seq)
        try:
            event = verify(jws, self._keys.header, self._keys.current.public)
        except EventError as error:
            self._find(Check.EVENT, str(error), row)
            return
        self._order(row, event, prev)
        self._beside(row, event, leaf)
        self._personal(row, event, disclosures)
        wrong = self._keys.follow(event)
        if wrong is not None:
            self._find(Check.KEY, wrong, row)
        if event.type == "call.received":
            self._report.calls += 1
            self._on_call(event.call or "")
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
        sealed = [d for d in disclosures if d.text.startswith(PREFIX)]
        disclosures = [d for d in disclosures if not d.text.startswith(PREFIX)]
        self._report.sealed_fields += len(sealed)
        for stored in sealed:
            # Its content cannot be read here; that it stands where it was signed for can be.
            if stored.digest not in event.sd:
                self._find(Check.DISCLOSURE, "does not belong to this event", row, stored.name)
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

    # -- the tree, and the end --

    def _node(self, node: Node) -> None:
        if self._check_nodes and self._source.node(node.level, node.number) != node.hash:
            # One is enough to say: what is above it and after it differs for the same reason.
            self._check_nodes = False
            what = "a stored subtree hash is not that of its events"
            self._note(Check.INDEX, what, f"node {node.level}/{node.number}")

    def _at_the_end(self) -> None:
        report, size = self._report, self._tree.size
        self._checkpoints.beyond(size)
        report.checkpoints, report.sealed = self._checkpoints.count, self._checkpoints.sealed
        if self._check_nodes and (stored := self._source.nodes()) != complete(size):
            what = f"{stored} subtree hashes are stored, the events have {complete(size)}"
            self._note(Check.INDEX, what, "nodes")
        doubt = self._keys.doubt()
        if doubt is not None:
            self._note(Check.KEY, doubt, None)

    def _find(self, check: Check, message: str, row: EventRow, place: str | None = None) -> None:
        self._report.findings.append(Finding(check, message, row.seq, row.call, place))

    def _note(self, check: Check, message: str, place: str | None) -> None:
        self._report.findings.append(Finding(check, message, place=place))


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


__all__ = ["Kept", "Report", "verify_log"]
