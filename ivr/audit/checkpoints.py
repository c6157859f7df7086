# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed checkpoints, stored in the log and kept outside, each compared with the tree when the events reach its size.

A checkpoint must be signed by the key that was in force at its size: a key that was retired can vouch for the past no
more than anybody else.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

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


class Checkpoints:
    """All that are awaited. `count` are stored, the first `sealed` events are covered by one that holds."""

    def __init__(self, source: Source, kept: Iterable[Kept], keys: TrustedKeys, note: Note) -> None:
        self._note = note
        self._keys = keys
        self._differs = False
        self.count = 0
        self.sealed = 0
        found = [*self._stored(source), *self._outside(kept)]
        self._awaited = sorted(found, key=lambda one: one.checkpoint.size, reverse=True)
        self._next = self._awaited[-1].checkpoint.size if self._awaited else -1

    def meet(self, tree: Frontier) -> None:
        """Compare those of this size. Called with every size, in order."""
        while self._next == tree.size:
            awaited = self._awaited.pop()
            self._next = self._awaited[-1].checkpoint.size if self._awaited else -1
            if self._signed(awaited, [self._keys.current]):
                self._compare(awaited, tree.root())

    def beyond(self, size: int) -> None:
        """At the end: what is left is of a longer log."""
        left = [one for one in reversed(self._awaited) if self._signed(one, self._keys.keys)]
        stored = [one for one in left if one.stored]
        for one in [*stored[-1:], *(one for one in left if not one.stored)]:
            what = f"the log has {size} events, {one.checkpoint.size - size} fewer than this checkpoint"
            self._note(Check.CUT, f"{what}: its end was cut off, or events were taken out", one.place)

    def _stored(self, source: Source) -> Iterator[_Awaited]:
        for row in source.checkpoints():
            self.count += 1
            place = f"checkpoint {row.size}"
            checkpoint = self._read(row.note, place)
            if checkpoint is None:
                continue
            if (checkpoint.size, checkpoint.root) != (row.size, row.root):
                self._note(Check.CHECKPOINT, "the columns differ from the signed note", place)
            yield _Awaited(checkpoint, row.note, place, stored=True)
        if not self.count:
            self._note(Check.CHECKPOINT, "the log holds no checkpoint; every log has one from its creation on", None)

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
