# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that recording is permitted: a signed, durable `recording.permitted` event of this very call.

A recorder takes a VerifiedPermit and nothing else, so audio cannot be kept before the permit is in the log.
"""

from dataclasses import InitVar, dataclass, field

from ivr.ledger.event import EventError, header_segment, key_id, verify
from ivr.ledger.note import VKey

PERMITTED = "recording.permitted"
_SEAL = object()


class PermitError(Exception):
    """The token is not a permit of this call, signed by this ledger."""


@dataclass(frozen=True, slots=True)
class VerifiedPermit:
    """Made by verify_permit() only. `parties` are those whose audio may be kept, `recording` its UUIDv7."""

    call: str
    recording: str
    parties: tuple[str, ...]
    seq: int
    event: str
    jws: str = field(repr=False)
    # Not a field: dataclasses.replace() must not carry it over into a permit for something else.
    _seal: InitVar[object] = None

    def __post_init__(self, _seal: object) -> None:
        if _seal is not _SEAL:
            raise PermitError("a permit cannot be made, only verified: use verify_permit()")


def verify_permit(jws: str, vkey: VKey, *, call: str) -> VerifiedPermit:
    """Check the acknowledged JWS of a permit: signature, log, type and call. Raises PermitError."""
    try:
        event = verify(jws.encode(), header_segment(key_id(vkey.public)), vkey.public)
    except EventError as error:
        raise PermitError(f"not a permit of {vkey.name}: {error}") from None
    if event.log != vkey.name:
        raise PermitError(f"a permit of the log {event.log!r}, not of {vkey.name!r}")
    if event.type != PERMITTED:
        raise PermitError(f"{event.type} is not a permit: only {PERMITTED} is")
    if event.call != call:
        raise PermitError(f"a permit of call {event.call}, not of {call}")
    recording, parties = event.data.get("recording"), event.data.get("parties")
    if not isinstance(recording, str) or not isinstance(parties, list) or not parties:
        raise PermitError("the permit names no recording or no parties")
    return VerifiedPermit(call, recording, tuple(str(p) for p in parties), event.seq, event.id, jws, _SEAL)
