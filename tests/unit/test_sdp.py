# SPDX-License-Identifier: GPL-3.0-or-later
"""The SIP and SDP that we read ourselves: what RFC 7866 says, and nothing that a stranger writes can raise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.sip import sdp

AUDIO = "m=audio 4000 RTP/AVP 8\r\n"
HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
INVITE = (
    'INVITE sip:+4930100@192.0.2.9:5060;user=phone SIP/2.0\r\nFrom: "Eve" <sip:eve@example.org>;tag=1\r\n'
    "Call-ID: abc@host\r\nSupported: timer, Record-Aware\r\nAllow: INVITE, INFO\r\n\r\n"
)


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        (HEAD + AUDIO, None),
        (HEAD + AUDIO + "a=recordpref:off\r\n", "off"),
        (HEAD + "a=recordpref:on\r\n" + AUDIO, "on"),
        (HEAD + "a=recordpref:on\r\n" + AUDIO + "a=recordpref:off\r\n", "off"),  # section 7.3.2: media overrides
        (HEAD + "a=recordpref:off\r\n" + AUDIO + "a=recordpref:on\r\n", "on"),
        (HEAD + AUDIO + "a=recordpref:on\r\n" + AUDIO + "a=recordpref:pause\r\n", "pause"),
        (HEAD + AUDIO + "A=RECORDPREF:OFF\n", "off"),
        (HEAD + AUDIO + "a=recordpref:maybe\r\n", None),
        (HEAD + AUDIO + "a=recordpreference:off\r\n", None),
        (HEAD + AUDIO + "a=recordpref:nopreference\r\n", "nopreference"),
        ("", None),
    ],
)
def test_the_recording_preference(text: str, wish: str | None) -> None:
    assert sdp.record_preference(text) == wish


INFO = "INFO sip:100@192.0.2.9 SIP/2.0\r\nContent-Type: {}\r\n\r\n{}"


@pytest.mark.parametrize(
    ("kind", "body", "key"),
    [
        ("application/dtmf-relay", "Signal=9\r\nDuration=160\r\n", "9"),
        ("Application/DTMF-Relay; charset=utf-8", "Duration=160\nsignal = 9", "9"),
        ("application/dtmf-relay", "Signal=*\r\n", "*"),
        ("application/dtmf-relay", "Signal=d\r\n", "D"),
        ("application/dtmf-relay", "Signal=10\r\n", "*"),  # never 1, which may mean yes
        ("application/dtmf-relay", "Signal=11\r\n", "#"),
        ("application/dtmf-relay", "Signal=15\r\n", "D"),
        ("application/dtmf-relay", "Signal=16\r\n", None),
        ("application/dtmf-relay", "Signal=99\r\n", None),
        ("application/dtmf-relay", "9", None),
        ("application/dtmf", "9", "9"),
        ("application/dtmf", " # \r\n", "#"),
        ("application/dtmf", "Signal=9\r\n", "9"),
        ("application/dtmf", "9 9", None),
        ("text/plain", "Signal=9\r\n", None),
    ],
)
def test_a_key_by_info(kind: str, body: str, key: str | None) -> None:
    assert sdp.info_key(INFO.format(kind, body)) == key


def test_bytes_that_are_no_utf8_become_readable() -> None:
    given_by_swig = b'From: "M\xfcller" <tel:+4930>'.decode("utf-8", "surrogateescape")
    assert sdp.readable(given_by_swig).encode() == 'From: "M\ufffdller" <tel:+4930>'.encode()
    assert sdp.readable("M\u00fcller") == "M\u00fcller"


def test_headers() -> None:
    assert sdp.header(INVITE, "call-id") == "abc@host"
    assert sdp.header(INVITE, "Via") is None
    assert sdp.header("A: b\r\n\r\nCall-ID: in the body\r\n", "Call-ID") is None


def test_who_dialled_whom() -> None:
    assert sdp.request_user(INVITE) == "+4930100"
    assert sdp.request_user("INVITE sip:192.0.2.9 SIP/2.0\r\n\r\n") == ""
    assert sdp.user_of('"Eve" <sip:eve@example.org>;tag=1') == "eve"
    assert sdp.user_of("tel:+4930100") == "tel:+4930100"


def test_record_aware_in_both_forms() -> None:
    assert sdp.record_aware(INVITE) is True
    assert sdp.record_aware("INVITE x\r\nk: 100rel,record-aware\r\n\r\n") is True
    assert sdp.record_aware("INVITE x\r\nSupported: record-awareness\r\n\r\n") is False


def test_our_indication_is_there_once_before_the_first_media() -> None:
    once = sdp.with_record_attribute(HEAD + AUDIO, "on")
    twice = sdp.with_record_attribute(once, "paused")
    assert once == HEAD + "a=record:on\r\n" + AUDIO
    assert twice == HEAD + "a=record:paused\r\n" + AUDIO


@given(st.text(max_size=400))
def test_nothing_that_a_stranger_writes_raises(text: str) -> None:
    for read in (sdp.record_preference, sdp.record_aware, sdp.request_user, sdp.user_of, sdp.body):
        read(text)
    sdp.header(text, "From")
    assert sdp.with_record_attribute(text, "off").count("a=record:off") >= 1


def test_a_huge_message_is_read_to_its_limit_only() -> None:
    assert sdp.record_preference(HEAD + AUDIO + "a=x\r\n" * 20_000 + "a=recordpref:off\r\n") is None
    assert len(sdp.body("\r\n\r\n" + "x" * 1_000_000)) <= 65_536
