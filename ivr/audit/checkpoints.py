# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed checkpoints, stored in the log and kept outside, each compared with the tree when the events reach its size.

A checkpoint must be signed by the key that was in force at its size: a key that was retired can vouch for the past no
more than anybody else.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from ivr.audit.findings import Check
from ivr.audit.keys import Source, TrustedKeys
from ivr.ledger.note import Checkpoint, NoteError, VKey, note_text, open_checkpoint, open_note
from ivr.ledger.tree import Frontier

Note = Callable[[Check, str, str | None], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint that somebody kept outside: its signed note, and where it came from."""

    note: str
    place: str


@dataclass(frozen=True, slots=True)
class _Awaited:
    checkpoint: Checkpoint
    note: str
    place: str
    stored: bool
    next_follows: bool = False
    """The next stored one is read when this one is taken."""


class Checkpoints:
    """Those that are awaited next: stored ones are read as the events go by, so memory does not grow with the log.

    `count` are stored, the first `sealed` events are covered by one that holds.
    """

    def __init__(self, source: Source, kept: Iterable[Kept], keys: TrustedKeys, note: Note) -> None:
        self._note = note
        self._keys = keys
        self._differs = False
        self.count = 0
        self.sealed = 0
        self._rows = iter(source.checkpoints())
        self._awaited: list[tuple[int, int, _Awaited]] = []
        self._pushed = 0
        for one in self._outside(kept):
            self._push(one)
        self._read_on()

    def meet(self, tree: Frontier) -> None:
        """Compare those of this size. Called with every size, in order."""
        while self._awaited and self._awaited[0][0] <= tree.size:
            awaited = self._pop()
            if awaited.checkpoint.size < tree.size:
                # Its column said another size, as has been noted, and by now its events have gone by.
                continue
            if self._signed(awaited, [self._keys.current]):
                self._compare(awaited, tree.root())

    def beyond(self, size: int) -> None:
        """At the end: what is left is of a longer log."""
        newest: list[_Awaited] = []
        outside: list[_Awaited] = []
        while self._awaited:
            one = self._pop()
            if one.checkpoint.size > size and self._signed(one, self._keys.keys):
                if one.stored:
                    newest = [one]
                else:
                    outside.append(one)
        if not self.count:
            self._note(Check.CHECKPOINT, "the log holds no checkpoint; every log has one from its creation on", None)
        for one in [*newest, *outside]:
            what = f"the log has {size} events, {one.checkpoint.size - size} fewer than this checkpoint"
            self._note(Check.CUT, f"{what}: its end was cut off, or events were taken out", one.place)

    def _push(self, awaited: _Awaited) -> None:
        self._pushed += 1
        heappush(self._awaited, (awaited.checkpoint.size, self._pushed, awaited))

    def _pop(self) -> _Awaited:
        awaited = heappop(self._awaited)[2]
        if awaited.next_follows:
            self._read_on()
        return awaited

    def _read_on(self) -> None:
        """Up to and with the next stored one whose column says the size that it has: rows come by that column."""
        for row in self._rows:
            self.count += 1
            place = f"checkpoint {row.size}"
            checkpoint = self._read(row.note, place)
            if checkpoint is None:
                continue
            if (checkpoint.size, checkpoint.root) != (row.size, row.root):
                self._note(Check.CHECKPOINT, "the columns differ from the signed note", place)
            in_order = checkpoint.size == row.size
            self._push(_Awaited(checkpoint, row.note, place, stored=True, next_follows=in_order))
            if in_order:
                return

    def _outside(self, kept: Iterable[Kept]) -> Iterator[_Awaited]:
        for one in kept:
            checkpoint = self._read(one.note, one.place)
            if checkpoint is not None:
                yield _Awaited(checkpoint, one.note, one.place, stored=False)

    def _read(self, note: object, place: str) -> Checkpoint | None:
        # Which key must have signed it is known only when the events before it have been walked.
        try:
            if not isinstance(note, str):
                raise NoteError("not a signed note: not text")
            return Checkpoint.parse(note_text(note))
        except NoteError as error:
            self._note(Check.CHECKPOINT, str(error), place)
            return None

    def _signed(self, awaited: _Awaited, keys: Sequence[VKey]) -> bool:
        wrong = ""
        for key in keys:
            try:
                open_checkpoint(awaited.note, key)
                if awaited.stored:
                    self._all_signatures(awaited.note)
            except NoteError as error:
                wrong = str(error)
            else:
                return True
        self._note(Check.CHECKPOINT, wrong, awaited.place)
        return False

    def _all_signatures(self, note: str) -> None:
        # The ledger stores no signatures but its own; those of witnesses are kept outside the database.
        text = note_text(note)
        for line in note[len(text) + 1 :].splitlines(keepends=True):
            open_note(f"{text}\n{line}", self._keys.keys)

    def _compare(self, awaited: _Awaited, root: bytes) -> None:
        if awaited.checkpoint.root == root:
            self._keys.sealed(awaited.note)
            self.sealed = max(self.sealed, awaited.checkpoint.size if awaited.stored else 0)
        elif not (awaited.stored and self._differs):
            # Every later checkpoint differs too; the first one tells where.
            self._differs = self._differs or awaited.stored
            self._note(Check.TREE, self._between(awaited), awaited.place)

    def _between(self, awaited: _Awaited) -> str:
        if not awaited.stored:
            return f"the first {awaited.checkpoint.size} events are not those that this checkpoint was made of"
        return f"an event from {self.sealed} to {awaited.checkpoint.size - 1} is not the one that was logged"
