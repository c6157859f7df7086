# SPDX-License-Identifier: GPL-3.0-or-later
"""Events: one form only, and not one bit of it can change unseen."""

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ivr.ledger import canonical
from ivr.ledger.event import (
    Event,
    EventError,
    Signed,
    header_segment,
    key_id,
    match_disclosures,
    parse_disclosure,
    peek,
    sign,
    verify,
)
from ivr.ledger.keys import LedgerKey
from ledger_kit import CALL, ORIGIN, RECORDING

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = LedgerKey.of(ORIGIN, PRIVATE)
HEADER = header_segment(KEY.kid)
EVENT = Event(ORIGIN, 3, "A" * 43, RECORDING, "2026-01-02T12:15:30.123456Z", CALL, "call.received", {"at_ms": 0})


def signed(event: Event = EVENT, **personal: Any) -> Signed:
    return sign(event, personal, KEY.kid, KEY.sign)


def resigned(payload: bytes | dict[str, Any], header: dict[str, Any] | None = None) -> bytes:
    """Bytes of our choice under a good signature: what a careless signer could have made."""
    raw = payload if isinstance(payload, bytes) else canonical.dumps(payload)
    head = HEADER if header is None else canonical.b64url(canonical.dumps(header))
    body = head + b"." + canonical.b64url(raw)
    return body + b"." + canonical.b64url(PRIVATE.sign(body))


def payload_of(one: Signed) -> dict[str, Any]:
    part = one.jws.split(".")[1]
    loaded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return loaded


def check(jws: bytes) -> Event:
    return verify(jws, HEADER, KEY.vkey.public)


def test_a_signed_event_verifies_and_says_what_was_signed() -> None:
    one = signed(caller="+49 30 123456", dialled="100")
    event = check(one.jws.encode())
    assert event == one.event
    assert (event.seq, event.call, event.type, event.data) == (3, CALL, "call.received", {"at_ms": 0})
    assert peek(one.jws) == event


def test_the_header_is_the_one_of_the_format() -> None:
    head = signed().jws.split(".")[0]
    decoded = json.loads(base64.urlsafe_b64decode(head + "=="))
    assert decoded == {"alg": "EdDSA", "kid": KEY.kid, "typ": "consent-event+sd-jwt"}


def test_the_key_id_is_the_jwk_thumbprint_of_rfc_8037() -> None:
    public = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    assert key_id(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_disclosures_are_those_of_rfc_9901() -> None:
    # The worked example of section 4.2.1 and 4.2.3 has spaces and is therefore not canonical; its digest rule is ours.
    one = signed(caller="+49 30 123456")
    (disclosure,) = one.disclosures
    salt, name, value = json.loads(base64.urlsafe_b64decode(disclosure.text + "=="))
    assert (name, value) == ("caller", "+49 30 123456")
    assert len(base64.urlsafe_b64decode(salt + "==")) == 16
    digest = base64.urlsafe_b64encode(hashlib.sha256(disclosure.text.encode()).digest()).rstrip(b"=").decode()
    assert payload_of(one)["_sd"] == [digest]
    assert one.presentation() == f"{one.jws}~{disclosure.text}~"


def test_personal_fields_are_not_in_the_signed_bytes() -> None:
    one = signed(caller="+49 30 123456")
    assert "+49 30 123456" not in json.dumps(payload_of(one))
    assert set(payload_of(one)) == {"v", "log", "seq", "prev", "id", "time", "call", "type", "data", "_sd", "_sd_alg"}


def test_the_same_value_has_another_digest_each_time() -> None:
    assert signed(caller="1").event.sd != signed(caller="1").event.sd


def test_digests_are_sorted_so_that_their_order_tells_nothing() -> None:
    one = signed(a="1", b="2", c="3", d="4")
    assert list(one.event.sd) == sorted(one.event.sd)


def test_erased_disclosures_leave_a_valid_event() -> None:
    one = signed(caller="1", dialled="2")
    event = check(one.jws.encode())
    assert match_disclosures(event, []) == ()
    assert [d.name for d in match_disclosures(event, [one.disclosures[1].text])] == ["dialled"]


def test_a_foreign_disclosure_is_refused() -> None:
    one, other = signed(caller="1"), signed(caller="1")
    with pytest.raises(EventError, match="does not belong"):
        match_disclosures(one.event, [other.disclosures[0].text])


def test_a_disclosure_given_twice_is_refused() -> None:
    one = signed(caller="1")
    with pytest.raises(EventError, match="does not belong"):
        match_disclosures(one.event, [one.disclosures[0].text] * 2)


@pytest.mark.parametrize("content", [["salt", "name"], "name", ["s", "n", 1.5], ["s", 1, 2], ["s", "_sd", 1]])
def test_what_is_no_disclosure_is_refused(content: object) -> None:
    text = canonical.b64url(json.dumps(content, separators=(",", ":")).encode()).decode()
    with pytest.raises(EventError, match="disclosure"):
        parse_disclosure(text)


def test_names_of_the_payload_cannot_be_personal_fields() -> None:
    for name in ("call", "_sd", "..."):
        with pytest.raises(EventError, match="payload uses"):
            sign(EVENT, {name: "x"}, KEY.kid, KEY.sign)


@given(st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    jws = bytearray(signed(caller="1").jws.encode())
    place = data.draw(st.integers(0, len(jws) - 1))
    jws[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != jws[place]))
    with pytest.raises(EventError):
        check(bytes(jws))


def test_another_key_is_refused() -> None:
    other = LedgerKey.of(ORIGIN, Ed25519PrivateKey.generate())
    jws = signed().jws.encode()
    with pytest.raises(EventError, match="header"):
        verify(jws, header_segment(other.kid), other.vkey.public)
    with pytest.raises(EventError, match="signature"):
        verify(jws, HEADER, other.vkey.public)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "kid": KEY.kid, "typ": "consent-event+sd-jwt"},
        {"alg": "EdDSA", "kid": KEY.kid, "typ": "JWT"},
        {"alg": "EdDSA", "kid": KEY.kid},
        {"alg": "EdDSA", "crit": ["x"], "kid": KEY.kid, "typ": "consent-event+sd-jwt"},
    ],
)
def test_any_other_header_is_refused_though_signed(header: dict[str, Any]) -> None:
    with pytest.raises(EventError, match="header"):
        check(resigned(payload_of(signed()), header))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"v": 2}, "version"),
        ({"v": True}, "version"),
        ({"seq": -1}, "seq"),
        ({"seq": "3"}, "seq"),
        ({"prev": None}, "prev"),
        ({"prev": "short"}, "prev"),
        ({"id": RECORDING.upper()}, "id"),
        ({"call": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}, "call"),
        ({"call": 0}, "call"),
        ({"call": ""}, "call"),
        ({"prev": False}, "prev"),
        ({"id": 7}, "id"),
        ({"id": EVENT.id + "\n"}, "id"),
        ({"log": 7}, "log"),
        ({"_sd": [7], "_sd_alg": "sha-256"}, "_sd"),
        ({"_sd": "A" * 43, "_sd_alg": "sha-256"}, "_sd"),
        ({"time": "2026-01-02T12:15:30Z"}, "time"),
        ({"time": "2026-01-02T12:15:30.123456+01:00"}, "time"),
        ({"type": "Call"}, "type"),
        ({"data": []}, "data"),
        ({"extra": 1}, "extra"),
        ({"_sd": ["A" * 43]}, "_sd"),
        ({"_sd": [], "_sd_alg": "sha-256"}, "_sd"),
        ({"_sd": ["B" * 43, "A" * 43], "_sd_alg": "sha-256"}, "sorted"),
        ({"_sd": ["A" * 43, "A" * 43], "_sd_alg": "sha-256"}, "twice"),
        ({"_sd": ["A" * 43], "_sd_alg": "md5"}, "_sd_alg"),
    ],
)
def test_a_wrong_payload_is_refused_though_signed(change: dict[str, Any], said: str) -> None:
    with pytest.raises(EventError, match=said):
        check(resigned(payload_of(signed()) | change))


def test_a_missing_field_is_refused_though_signed() -> None:
    payload = payload_of(signed())
    del payload["call"]
    with pytest.raises(EventError, match="call"):
        check(resigned(payload))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"at_ms":0', b'"at_ms":0.0'),
        (b'"at_ms":0', b'"at_ms":1e3'),
        (b'"at_ms":0', b'"at_ms":9007199254740993'),
        (b'"at_ms":0', b'"at_ms": 0'),
        (b'"at_ms":0', b'"at_ms":0,"at_ms":0'),
        (b'"at_ms":0', b'"b":1,"at_ms":0'),
        (b'"at_ms":0', b'"at_ms":NaN'),
        (b'"call.received"', b'"call.receive\\u0064"'),
        (b'"at_ms":0', b'"at_ms":' + b"[" * 20 + b"]" * 20),
    ],
)
def test_other_spellings_of_json_are_refused_though_signed(was: bytes, becomes: bytes) -> None:
    raw = canonical.dumps(payload_of(signed()))
    assert was in raw
    assert check(resigned(raw))
    with pytest.raises(EventError, match="payload"):
        check(resigned(raw.replace(was, becomes)))


def test_unused_bits_of_base64_must_be_zero() -> None:
    jws = signed().jws
    for last in "BCDEFGHIJKLMNOP":
        if jws[-1] == "A":
            with pytest.raises(EventError, match="base64url"):
                check((jws[:-1] + last).encode())
    with pytest.raises(EventError):
        check((jws + "=").encode())


def test_what_cannot_be_signed_is_refused_by_the_writer() -> None:
    with pytest.raises(EventError, match="float"):
        signed(Event(ORIGIN, 3, "A" * 43, RECORDING, EVENT.time, CALL, "x.y", {"a": 1.5}))
    with pytest.raises(EventError, match="time"):
        signed(Event(ORIGIN, 3, "A" * 43, RECORDING, "now", CALL, "x.y", {}))
    with pytest.raises(EventError, match="65535"):
        signed(Event(ORIGIN, 3, "A" * 43, RECORDING, EVENT.time, CALL, "x.y", {"a": "b" * 60_000}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner),
        max_leaves=10,
    )
)
def test_canonical_json_reads_what_it_wrote(value: Any) -> None:
    raw = canonical.dumps(value)
    assert canonical.loads(raw) == value
    # Byte-equal to RFC 8785 for the values we allow (STANDARDS section 7).
    assert raw == json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
