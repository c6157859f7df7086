# SPDX-License-Identifier: GPL-3.0-or-later
"""Receipts: a c2sp.org/tlog-proof@v1 file shows, with the log's key and nothing else, that an event is in the log.

The event itself (its JWS, which holds no personal data) goes along as `extra`. The format does not authenticate that
line; here it needs no trust, because its hash is the leaf that the proof starts from.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ivr.audit.source import CheckpointRow, EventRow, LogSource, SourceError
from ivr.audit.tiles import TileFolder
from ivr.ledger.event import Event, EventError, header_segment, key_id, peek, verify
from ivr.ledger.note import Checkpoint, NoteError, VKey, note_text, open_checkpoint
from ivr.ledger.proofs import ProofError, Tree
from ivr.ledger.tree import leaf_hash, root_from_inclusion

HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


class ReceiptError(ValueError):
    """A receipt that is malformed, or does not show what it is for."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A parsed tlog-proof. Nothing of it is checked yet: see check_receipt()."""

    index: int
    proof: tuple[bytes, ...]
    note: str
    extra: bytes | None = None

    def text(self) -> str:
        """The file."""
        extra = [] if self.extra is None else [f"extra {base64.b64encode(self.extra).decode()}"]
        hashes = [base64.b64encode(one).decode() for one in self.proof]
        return "\n".join([HEADER, *extra, f"index {self.index}", *hashes, "", self.note])

    @classmethod
    def parse(cls, text: str) -> "Receipt":
        """Read a tlog-proof file. Raises ReceiptError."""
        head, blank, note = text.partition("\n\n")
        lines = head.split("\n")
        if not blank or lines[0] != HEADER:
            raise ReceiptError(f"not a receipt: it does not begin with {HEADER}, or holds no checkpoint")
        extra = None
        if len(lines) > 1 and lines[1].startswith("extra "):
            extra = _unbase64(lines.pop(1).removeprefix("extra "))
        match = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
        if match is None:
            raise ReceiptError("not a receipt: the line with the index is missing")
        if len(lines) - 2 > MAX_HASHES:
            raise ReceiptError(f"not a receipt: more than {MAX_HASHES} hashes")
        proof = tuple(_unbase64(line) for line in lines[2:])
        if any(len(one) != 32 for one in proof):
            raise ReceiptError("not a receipt: a hash has 32 bytes")
        return cls(int(match[1]), proof, note, extra)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a receipt shows: this entry is number `index` of the log as it was at `checkpoint`.

    `event` is None when the entry is none of ours; `signed` says whether its own signature was checked too, which needs
    the key that was in force when it was written.
    """

    index: int
    entry: bytes
    checkpoint: Checkpoint
    event: Event | None
    signed: bool


def make_receipt(source: LogSource | TileFolder, row: EventRow, checkpoint: CheckpointRow) -> Receipt:
    """The receipt of an event under a stored checkpoint. Reads a few hundred hashes, however long the log is.

    Raises ReceiptError when the checkpoint does not cover the event, or the log is not what the checkpoint says.
    """
    claimed = Checkpoint.parse(note_text(checkpoint.note))
    if row.seq >= claimed.size:
        raise ReceiptError(
            f"event {row.seq} is not covered by a checkpoint yet: the newest is of {claimed.size} events"
        )
    entry = row.jws.encode()
    try:
        proof = Tree(source, claimed.size).inclusion(row.seq)
        root = root_from_inclusion(row.seq, claimed.size, leaf_hash(entry), proof)
    except ProofError as error:
        raise ReceiptError(f"no receipt can be made: {error}; run: ivr log verify") from None
    # The hashes beside the events are not signed. A receipt that would not check is never handed out.
    if root != claimed.root:
        raise ReceiptError(f"event {row.seq} is not what checkpoint {claimed.size} was made of; run: ivr log verify")
    return Receipt(row.seq, tuple(proof), checkpoint.note, entry)


def check_receipt(receipt: Receipt, keys: Sequence[VKey], entry: bytes | None = None) -> Checked:
    """Check a receipt, offline. `entry` is the event's JWS when it is not to be taken from the receipt.

    Raises ReceiptError saying what does not hold.
    """
    entry = receipt.extra if entry is None else entry
    if entry is None:
        raise ReceiptError("the receipt does not hold the event: give it too (its JWS, without disclosures)")
    checkpoint = _checkpoint(receipt.note, keys)
    try:
        root = root_from_inclusion(receipt.index, checkpoint.size, leaf_hash(entry), receipt.proof)
    except ValueError as error:
        raise ReceiptError(f"the proof does not hold: {error}") from None
    if root != checkpoint.root:
        raise ReceiptError(f"the event is not number {receipt.index} of the log that the checkpoint is of")
    return _checked(receipt.index, entry, checkpoint, keys)


def _checkpoint(note: str, keys: Sequence[VKey]) -> Checkpoint:
    wrong = "no key was given"
    for key in keys:
        try:
            return open_checkpoint(note, key)
        except NoteError as error:
            wrong = str(error)
    raise ReceiptError(f"the checkpoint: {wrong}")


def _checked(index: int, entry: bytes, checkpoint: Checkpoint, keys: Sequence[VKey]) -> Checked:
    header = entry.partition(b".")[0]
    for key in keys:
        if header == header_segment(key_id(key.public)):
            try:
                event = verify(entry, header, key.public)
            except EventError as error:
                raise ReceiptError(
                    f"the event is in the log, and is not as this program writes them: {error}"
                ) from None
            if (event.seq, event.log) != (index, checkpoint.origin):
                raise ReceiptError(f"the event was signed as number {event.seq} of {event.log}")
            return Checked(index, entry, checkpoint, event, signed=True)
    try:
        return Checked(index, entry, checkpoint, peek(entry.decode("ascii", "replace")), signed=False)
    except EventError:
        return Checked(index, entry, checkpoint, None, signed=False)


def _unbase64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if not raw or base64.b64encode(raw).decode() != text:
        raise ReceiptError(f"not a receipt: {text[:50]!r} is not base64")
    return raw


__all__ = ["Checked", "Receipt", "ReceiptError", "SourceError", "check_receipt", "make_receipt"]
