# SPDX-License-Identifier: GPL-3.0-or-later
"""A permit is verified or it is not there."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr.ledger.errors import LedgerError
from ivr.ledger.event import Event, sign
from ivr.ledger.keys import LedgerKey
from ivr.ledger.permit import PermitError, VerifiedPermit, verify_permit
from ledger_kit import CALL, ORIGIN, RECORDING, permitted

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = LedgerKey.of(ORIGIN, PRIVATE)
DATA = dict(permitted().data)


def jws(kind: str = "recording.permitted", call: str | None = CALL, data: dict[str, Any] | None = None) -> str:
    time = "2026-01-02T12:15:30.123456Z"
    return sign(Event(ORIGIN, 5, "A" * 43, RECORDING, time, call, kind, data or DATA), {}, KEY.kid, KEY.sign).jws


def test_a_permit_of_this_call_is_verified() -> None:
    permit = verify_permit(jws(), KEY.vkey, call=CALL)
    assert (permit.call, permit.recording, permit.parties, permit.seq) == (CALL, RECORDING, ("caller",), 5)


def test_a_permit_cannot_be_made() -> None:
    with pytest.raises(PermitError, match="only verified"):
        VerifiedPermit(CALL, RECORDING, ("caller",), 5, RECORDING, jws(), object())


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (jws("recording.blocked"), "is not a permit"),
        (jws(call=RECORDING), "not of"),
        (jws(call=None), "not of"),
        (jws(data=DATA | {"parties": []}), "no parties"),
        (jws(data=DATA | {"recording": None}), "no recording"),
        (jws()[:-2] + "AA", "signature"),
        ("", "three parts"),
    ],
)
def test_what_is_no_permit_is_refused(token: str, said: str) -> None:
    with pytest.raises(PermitError, match=said):
        verify_permit(token, KEY.vkey, call=CALL)


def test_a_permit_of_another_log_is_refused() -> None:
    other = LedgerKey.of("example.org/other", PRIVATE)
    with pytest.raises(PermitError, match="other"):
        verify_permit(jws(), other.vkey, call=CALL)
    assert not issubclass(PermitError, LedgerError)
