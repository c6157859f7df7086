# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a witness to cosign a checkpoint (C2SP tlog-witness, `add-checkpoint`).

The witness remembers the largest tree it has seen of this log and signs only one that extends it: two histories shown
to two people cannot both carry its signature.
"""

import re
from collections.abc import Callable, Sequence

from ivr.ledger.cosignature import Cosignature, CosignerKey, cosigners
from ivr.ledger.note import NoteError, note_text
from ivr.ledger.web import Unreachable, post

SIZE_TYPE = "text/x.tlog.size"
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")

# From the size that the witness has seen, the proof to this checkpoint, each hash in base64.
Proof = Callable[[int], Sequence[str]]


class WitnessRefused(Exception):
    """The witness did not cosign: what it said, and what that means."""


def cosigned_by(url: str, key: CosignerKey, note: str, size: int, proof: Proof, seen: int = 0) -> Cosignature:
    """The witness's cosignature of this checkpoint, checked. `seen` is the size that it is thought to know.

    Raises WitnessRefused or Unreachable.
    """
    # The first guess may be wrong: the witness then says what it has seen, and is asked once more.
    for _ in range(2):
        body = "\n".join([f"old {seen}", *proof(seen), "", note]).encode()
        answer = post(f"{url.rstrip('/')}/add-checkpoint", body, "text/plain; charset=utf-8")
        if answer.status == 200:
            return _checked(answer.body, key, note)
        known = _SIZE.fullmatch(answer.body) if answer.status == 409 and answer.kind == SIZE_TYPE else None
        if known is None or int(known[1]) == seen:
            break
        seen = int(known[1])
        if seen > size:
            raise WitnessRefused(f"{key.name} has seen {seen} events, the log has {size} now: its end was cut off")
    raise WitnessRefused(f"{key.name}: {_MEANING.get(answer.status, 'no cosignature')} (HTTP {answer.status})")


def _checked(body: bytes, key: CosignerKey, note: str) -> Cosignature:
    try:
        lines = body.decode()
        found = cosigners(note_text(note) + "\n" + lines, [key])
    except (NoteError, UnicodeDecodeError) as error:
        raise WitnessRefused(f"{key.name}: {error}") from None
    if not found:
        raise WitnessRefused(f"{key.name}: the answer holds no cosignature of its key")
    return found[0]


_MEANING = {
    400: "it takes the request for malformed",
    403: "it does not know the key that signed the checkpoint",
    404: "it does not know this log",
    409: "it has seen another tree of the same size: the log's history was rewritten",
    422: "the log does not extend what it has seen: the log's history was rewritten",
}

__all__ = ["Proof", "Unreachable", "WitnessRefused", "cosigned_by"]
