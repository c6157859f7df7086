# SPDX-License-Identifier: GPL-3.0-or-later
"""The receipts of the events that decided about a call: c2sp.org/tlog-proof@v1 files, checked before they go out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ivr.audit.receipt import ReceiptError, check_receipt, make_receipt
from ivr.audit.source import LogSource
from ivr.export.errors import NotTrusted
from ivr.export.facts import Facts, Step
from ivr.ledger.keyring import KeyRing

DECISIVE = (
    "consent.decided",
    "consent.withdrawn",
    "recording.permitted",
    "recording.blocked",
    "recording.stopped",
    "recording.erased",
    "recording.not_erased",
    "call.ended",
    "call.lost",
)


@dataclass(frozen=True, slots=True)
class Proof:
    """One event and its receipt, or why there is none (a checkpoint that covers it is made within a minute)."""

    step: Step
    receipt: str | None
    why_none: str = ""


def proofs(facts: Facts, source: LogSource, keys: KeyRing) -> tuple[Proof, ...]:
    """A receipt for each decisive event of the call, under the newest checkpoint.

    Raises NotTrusted when the log is not what its checkpoint says.
    """
    return tuple(_proofs(facts.of(*DECISIVE), source, keys))


def _proofs(steps: Sequence[Step], source: LogSource, keys: KeyRing) -> Iterable[Proof]:
    checkpoint = source.newest_checkpoint()
    for step in steps:
        row = source.event(str(step.seq))
        if checkpoint is None or row is None:
            yield Proof(step, None, "the log has no checkpoint")
        elif step.seq >= checkpoint.size:
            yield Proof(step, None, f"the newest checkpoint covers {checkpoint.size} events, and not yet this one")
        else:
            try:
                receipt = make_receipt(source, row, checkpoint)
                check_receipt(receipt, keys.keys, step.jws.encode())
            except ReceiptError as error:
                raise NotTrusted(f"event {step.seq}: {error}", todo="run: ivr log verify") from None
            yield Proof(step, receipt.text())


def proof_of(found: Sequence[Proof], seq: int) -> Proof | None:
    """The proof of one event."""
    return next((proof for proof in found if proof.step.seq == seq), None)
