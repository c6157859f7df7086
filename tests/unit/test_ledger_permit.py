# SPDX-License-Identifier: GPL-3.0-or-later
"""Promise 1: a permit is verified or it does not exist."""

import copy
import dataclasses

import pytest

from ivr.ledger.event import Event, sign
from ivr.ledger.ids import uuid7
from ivr.ledger.note import VKey
from ivr.ledger.permit import PermitError, VerifiedPermit, verify_permit
from vault_kit import LEDGER, permit, permit_token


def test_a_signed_permit_of_this_call_is_accepted() -> None:
    call, recording = uuid7(), uuid7()
    jws, vkey = permit_token(call, recording)
    verified = verify_permit(jws, vkey, call=call)
    assert (verified.call, verified.recording, verified.parties) == (call, recording, ("caller", "agent-1"))


def test_it_cannot_be_made_by_hand() -> None:
    with pytest.raises(PermitError):
        VerifiedPermit("call", "recording", ("caller",), 1, "id", "jws")


def test_it_cannot_be_turned_into_a_permit_for_something_else() -> None:
    with pytest.raises(PermitError):
        dataclasses.replace(permit(), recording=uuid7())


def test_a_copy_is_the_same_permit() -> None:
    original = permit()
    assert copy.copy(original) == original


def test_another_calls_permit_is_refused() -> None:
    jws, vkey = permit_token(uuid7(), uuid7())
    with pytest.raises(PermitError, match="a permit of call"):
        verify_permit(jws, vkey, call=uuid7())


def test_another_ledgers_signature_is_refused() -> None:
    call = uuid7()
    jws, vkey = permit_token(call, uuid7())
    with pytest.raises(PermitError):
        verify_permit(jws, VKey(vkey.name, bytes(32)), call=call)


def test_a_changed_permit_is_refused() -> None:
    call = uuid7()
    jws, vkey = permit_token(call, uuid7())
    head, payload, signature = jws.split(".")
    for place in (0, len(payload) // 2, len(payload) - 2):
        other = "A" if payload[place] != "A" else "B"
        with pytest.raises(PermitError):
            verify_permit(f"{head}.{payload[:place]}{other}{payload[place + 1 :]}.{signature}", vkey, call=call)


def test_another_event_is_no_permit() -> None:
    call = uuid7()
    data = {"reason": "ledger", "at_ms": 1}
    event = Event(LEDGER.vkey.name, 0, None, uuid7(), "2026-01-02T12:15:30.123456Z", call, "recording.blocked", data)
    with pytest.raises(PermitError, match="is not a permit"):
        verify_permit(sign(event, {}, LEDGER.kid, LEDGER.sign).jws, LEDGER.vkey, call=call)
