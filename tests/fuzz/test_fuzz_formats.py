# SPDX-License-Identifier: GPL-3.0-or-later
"""Events, disclosures, notes, keys and SDP that are anything at all: no crash, and no other input passes."""

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ivr.ledger.canonical import CanonicalError, b64url, dumps, loads, unb64url
from ivr.ledger.event import Event, EventError, header_segment, match_disclosures, parse_disclosure, peek, sign, verify
from ivr.ledger.ids import uuid7
from ivr.ledger.keys import LedgerKey
from ivr.ledger.note import Checkpoint, NoteError, VKey, open_checkpoint, open_note, sign_note
from ivr.sip import sdp

RUNS = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
KEY = LedgerKey.of("example.org/consent-log", Ed25519PrivateKey.from_private_bytes(b"\x05" * 32))
HEADER = header_segment(KEY.kid)
SIGNED = sign(
    Event(KEY.vkey.name, 7, "A" * 43, uuid7(), "2026-01-02T12:15:30.123456Z", uuid7(), "call.received", {"at_ms": 0}),
    {"caller": "sip:a@example.org", "dialled": "100"},
    KEY.kid,
    KEY.sign,
)
JWS = SIGNED.jws.encode()
CHECKPOINT = Checkpoint(KEY.vkey.name, 7, b"\x09" * 32)
NOTE = sign_note(CHECKPOINT.text(), KEY.vkey, KEY.sign)
INVITE = (
    "INVITE sip:100@192.0.2.9 SIP/2.0\r\nSupported: timer, record-aware\r\nCall-ID: a\r\n\r\n"
    "v=0\r\na=recordpref:on\r\nm=audio 4000 RTP/AVP 8\r\na=recordpref:off\r\n"
)


def mutants(original: bytes) -> st.SearchStrategy[bytes]:
    """The original with up to three stretches replaced by other bytes, or by others of its own."""
    place = st.integers(0, len(original))
    own = st.tuples(place, place).map(lambda ends: original[min(ends) : max(ends)][:80])
    edit = st.tuples(place, st.integers(0, 8), own | st.binary(max_size=8) | st.sampled_from([b"=", b"\n", b".", b"~"]))

    def edited(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = original
        for at, length, new in edits:
            changed = changed[:at] + new + changed[at + length :]
        return changed

    return st.lists(edit, max_size=3).map(edited)


def texts(original: str) -> st.SearchStrategy[str]:
    return st.text() | mutants(original.encode()).map(lambda raw: raw.decode("utf-8", "replace"))


def passes(check: Callable[[], object], *errors: type[Exception]) -> bool:
    try:
        check()
    except errors:
        return False
    return True


@RUNS
@given(mutants(JWS) | st.binary())
def test_no_other_event_is_accepted(raw: bytes) -> None:
    assert passes(lambda: verify(raw, HEADER, KEY.vkey.public), EventError) == (raw == JWS)


@RUNS
@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.booleans(),
        lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3),
    )
)
def test_a_payload_that_the_key_itself_signed_is_read_or_refused(payload: object) -> None:
    if not passes(lambda: dumps(payload), CanonicalError):  # type: ignore[arg-type]
        return
    body = HEADER + b"." + b64url(dumps(payload))  # type: ignore[arg-type]
    jws = body + b"." + b64url(KEY.sign(body))
    assert not passes(lambda: verify(jws, HEADER, KEY.vkey.public), EventError)


@RUNS
@given(texts(SIGNED.jws))
def test_peeking_at_anything(text: str) -> None:
    passes(lambda: peek(text), EventError)


@RUNS
@given(st.sampled_from(SIGNED.disclosures).flatmap(lambda d: texts(d.text)))
def test_no_other_disclosure_belongs_to_an_event(text: str) -> None:
    passes(lambda: parse_disclosure(text), EventError)
    belongs = passes(lambda: match_disclosures(SIGNED.event, [text]), EventError)
    assert belongs == (text in {d.text for d in SIGNED.disclosures})


@RUNS
@given(mutants(dumps({"a": [1, "x", None], "b": {"c": True}})) | st.binary())
def test_what_is_canonical_has_one_form(raw: bytes) -> None:
    try:
        value = loads(raw)
    except CanonicalError:
        return
    assert dumps(value) == raw


@RUNS
@given(mutants(b64url(bytes(range(40)))) | st.binary())
def test_base64url_has_one_form(text: bytes) -> None:
    try:
        raw = unb64url(text)
    except CanonicalError:
        return
    assert b64url(raw) == text


@RUNS
@given(texts(NOTE))
def test_no_other_note_is_signed(note: str) -> None:
    try:
        text = open_note(note, [KEY.vkey])
    except NoteError:
        return
    assert text == CHECKPOINT.text()
    assert open_checkpoint(note, KEY.vkey) == CHECKPOINT


@RUNS
@given(texts(CHECKPOINT.text()))
def test_a_checkpoint_has_one_form(text: str) -> None:
    try:
        assert Checkpoint.parse(text).text() == text
    except NoteError:
        return


@RUNS
@given(texts(str(KEY.vkey)))
def test_a_verifier_key_has_one_form(text: str) -> None:
    try:
        assert str(VKey.parse(text)) == text.strip()
    except NoteError:
        return


@RUNS
@given(texts(INVITE))
def test_nothing_that_a_stranger_writes_raises(text: str) -> None:
    assert sdp.record_preference(text) in ("on", "off", "pause", "nopreference", None)
    assert isinstance(sdp.record_aware(text), bool)
    assert isinstance(sdp.header(text, "Call-ID"), str | None)
    assert isinstance(sdp.request_user(text) + sdp.user_of(text) + sdp.body(text), str)
    once = sdp.with_record_attribute(text, "on")
    assert once.count("a=record:on") >= 1
    assert sdp.with_record_attribute(once, "on") == once


def test_long_lines_take_no_longer_than_their_length() -> None:
    for unit in ("a", " ", "\t", ":", ",", "sip:", "\r\n", "Supported:", "Supported: ", "INVITE sip:", "a=recordpref:"):
        text = unit * (60_000 // len(unit))
        sdp.record_preference(text)
        sdp.record_aware(text)
        sdp.header(text, "Call-ID")
        sdp.request_user(text)
        sdp.user_of(text)
