# SPDX-License-Identifier: GPL-3.0-or-later
"""Promise 1: a permit is verified or it does not exist."""

import copy
import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr.ledger.errors import LedgerError
from ivr.ledger.event import Event, sign
from ivr.ledger.ids import uuid7
from ivr.ledger.keys import LedgerKey
from ivr.ledger.note import VKey
from ivr.ledger.permit import PermitError, VerifiedPermit, verify_permit
from ledger_kit import CALL, ORIGIN, RECORDING, permitted
from vault_kit import permit, permit_token

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = LedgerKey.of(ORIGIN, PRIVATE)
OTHER_KEY = LedgerKey.of(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\x08" * 32))
DATA = dict(permitted().data)


def jws(kind: str = "recording.permitted", call: str | None = CALL, data: dict[str, Any] | None = None) -> str:
    time = "2026-01-02T12:15:30.123456Z"
    return sign(Event(ORIGIN, 5, "A" * 43, RECORDING, time, call, kind, data or DATA), {}, KEY.kid, KEY.sign).jws


def test_a_permit_of_this_call_is_verified() -> None:
    verified = verify_permit(jws(), KEY.vkey, call=CALL)
    assert (verified.call, verified.recording, verified.parties, verified.seq) == (CALL, RECORDING, ("caller",), 5)


def test_it_names_all_parties_that_may_be_kept() -> None:
    call, recording = uuid7(), uuid7()
    token, vkey = permit_token(call, recording)
    verified = verify_permit(token, vkey, call=call)
    assert (verified.call, verified.recording, verified.parties) == (call, recording, ("caller", "agent-1"))


@pytest.mark.parametrize("seal", [(), (object(),)])
def test_it_cannot_be_made_by_hand(seal: tuple[object, ...]) -> None:
    with pytest.raises(PermitError, match="only verified"):
        VerifiedPermit(CALL, RECORDING, ("caller",), 5, RECORDING, jws(), *seal)


def test_it_cannot_be_turned_into_a_permit_for_something_else() -> None:
    with pytest.raises(PermitError):
        dataclasses.replace(permit(), recording=uuid7())


def test_a_copy_is_the_same_permit() -> None:
    original = permit()
    assert copy.copy(original) == original


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (jws("recording.blocked"), "is not a permit"),
        (jws("recording.blocked", data={"reason": "ledger", "at_ms": 1}), "is not a permit"),
        (jws(call=RECORDING), "a permit of call .*, not of"),
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


def test_another_ledgers_signature_is_refused() -> None:
    with pytest.raises(PermitError):
        verify_permit(jws(), VKey(KEY.vkey.name, OTHER_KEY.vkey.public), call=CALL)


def test_a_permit_of_another_log_is_refused() -> None:
    other = LedgerKey.of("example.org/other", PRIVATE)
    with pytest.raises(PermitError, match="other"):
        verify_permit(jws(), other.vkey, call=CALL)


def test_a_changed_permit_is_refused() -> None:
    head, payload, signature = jws().split(".")
    for place in (0, len(payload) // 2, len(payload) - 2):
        other = "A" if payload[place] != "A" else "B"
        with pytest.raises(PermitError):
            verify_permit(f"{head}.{payload[:place]}{other}{payload[place + 1 :]}.{signature}", KEY.vkey, call=CALL)


def test_a_refusal_is_no_failure_of_the_ledger() -> None:
    assert not issubclass(PermitError, LedgerError)
