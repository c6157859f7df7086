# SPDX-License-Identifier: GPL-3.0-or-later
"""Does today's log extend a checkpoint that somebody kept? Proved with hashes anybody can check again, or shown not to.

The proof is written as the body of a C2SP witness's `add-checkpoint` request: `old <size>`, one hash a line, a blank
line, today's checkpoint. Together with the kept checkpoint it needs neither the log nor this program.
"""

import base64
import re
from dataclasses import dataclass

from ivr.audit.source import LogSource
from ivr.audit.tiles import TileFolder
from ivr.ledger.note import Checkpoint, NoteError, note_text
from ivr.ledger.proofs import ProofError, Tree, verify_consistency

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
MAX_HASHES = 63


class Inconsistent(Exception):
    """Today's log does not extend the kept checkpoint: it was cut, or its history was rewritten."""


@dataclass(frozen=True, slots=True)
class Extension:
    """That the tree of the first `old` leaves is a beginning of the one that `note`, a checkpoint, is of."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """The form that a witness takes."""
        hashes = [base64.b64encode(one).decode() for one in self.proof]
        return "\n".join([f"old {self.old}", *hashes, "", self.note])

    @classmethod
    def parse(cls, text: str) -> "Extension":
        """Read that form. Raises ProofError."""
        head, blank, note = text.partition("\n\n")
        first, *lines = head.split("\n")
        match = _OLD.fullmatch(first)
        if not blank or match is None or len(lines) > MAX_HASHES:
            raise ProofError("not a consistency proof: it begins with `old`, and a checkpoint follows a blank line")
        try:
            proof = tuple(base64.b64decode(line, validate=True) for line in lines)
        except ValueError:
            raise ProofError("not a consistency proof: a line is not base64") from None
        return cls(int(match[1]), proof, note)

    def check(self, kept: Checkpoint) -> Checkpoint:
        """Today's checkpoint, whose signature is NOT checked here. Raises Inconsistent."""
        try:
            today = Checkpoint.parse(note_text(self.note))
            if kept.size != self.old or kept.origin != today.origin:
                raise ProofError(f"the proof is from {self.old} events on, the checkpoint of {kept.size}")
            verify_consistency(kept.size, kept.root, today.size, today.root, self.proof)
        except (NoteError, ProofError) as error:
            raise Inconsistent(str(error)) from None
        return today


def prove_extension(source: LogSource | TileFolder, kept: Checkpoint) -> Extension:
    """The proof that the log, as its newest checkpoint has it, extends `kept`. Raises Inconsistent.

    Signatures are the caller's matter. What the log says about itself is not believed: the proof is checked first.
    """
    newest = source.newest_checkpoint()
    if newest is None:
        raise Inconsistent("the log holds no checkpoint; every log has one from its creation on")
    try:
        today = Checkpoint.parse(note_text(newest.note))
    except NoteError as error:
        raise Inconsistent(f"the newest checkpoint: {error}") from None
    if kept.size > today.size:
        raise Inconsistent(
            f"the kept checkpoint is of {kept.size} events, the newest of the log of {today.size}: "
            "its end was cut off, or this is an older copy"
        )
    try:
        extension = Extension(kept.size, tuple(Tree(source, today.size).consistency(kept.size)), newest.note)
        extension.check(kept)
    except (ProofError, Inconsistent) as error:
        raise Inconsistent(
            f"the first {kept.size} events are not those that the kept checkpoint was made of: {error}"
        ) from None
    return extension
