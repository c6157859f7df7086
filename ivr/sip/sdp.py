# SPDX-License-Identifier: GPL-3.0-or-later
"""The little of SIP and SDP that pjsua2 does not parse for us. Input is hostile: lengths bounded, nothing raises."""

import re

_LIMIT = 65_536
_RECORDPREF = re.compile(r"^a=recordpref:(on|off|pause|nopreference)\s*$", re.MULTILINE | re.IGNORECASE)
_REQUEST_USER = re.compile(r"^[A-Z]+ sips?:([^@\s;>]*)@", re.IGNORECASE)
_SIGNAL = re.compile(r"^[ \t]*signal[ \t]*=[ \t]*([0-9A-D*#]+)[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_BARE = re.compile(r"\s*([0-9A-D*#]+)\s*", re.IGNORECASE)
_BY_NUMBER = {"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}
EDGE_ID = "X-Assent-Id"
_EDGE_ID = re.compile(r"[0-9a-f]{32}")
# No user is longer; without a limit a text of nothing but `sip:` would take the square of its length.
_USER = re.compile(r"sips?:([^@\s;>]{0,256})@", re.IGNORECASE)


def readable(message: str) -> str:
    """The message as text that JSON can hold: a byte that is no UTF-8 becomes U+FFFD.

    SWIG hands such bytes over as lone surrogates, and a phone may write its owner's name in Latin-1.
    """
    return message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def record_preference(sdp: str) -> str | None:
    """The a=recordpref of an SDP, media level overriding session level (RFC 7866 section 7.3.2), or None.

    Several media that differ: the most restrictive counts (off, pause, nopreference, on).
    """
    text = sdp[:_LIMIT].replace("\r", "")
    session, _, media = text.partition("\nm=")
    found = _RECORDPREF.findall(media) or _RECORDPREF.findall(session)
    order = ("off", "pause", "nopreference", "on")
    wishes = {value.lower() for value in found}
    return next((value for value in order if value in wishes), None)


def header(message: str, name: str) -> str | None:
    """The first header of this name in a SIP message, or None. Compact forms are the caller's business."""
    head = message[:_LIMIT].partition("\r\n\r\n")[0]
    match = re.search(rf"^{re.escape(name)}\s*:(.*)$", head, re.MULTILINE | re.IGNORECASE)
    return match.group(1).strip() if match else None


def tokens(message: str, *names: str) -> frozenset[str]:
    """The comma-separated values of every header of these names, in lower case (RFC 3261 section 7.3.1)."""
    head = message[:_LIMIT].partition("\r\n\r\n")[0]
    either = "|".join(map(re.escape, names))
    values = re.findall(rf"^(?:{either})\s*:(.*)$", head, re.MULTILINE | re.IGNORECASE)
    return frozenset(value.strip().lower() for value in ",".join(values).split(","))


def record_aware(message: str) -> bool:
    """Whether the peer's Supported (compact form k) lists record-aware (RFC 7866 section 6.3)."""
    return "record-aware" in tokens(message, "Supported", "k")


def request_user(message: str) -> str:
    """The user part of the request URI: what was dialled. Empty when there is none."""
    match = _REQUEST_USER.match(message[:_LIMIT])
    return match.group(1) if match else ""


def user_of(uri: str) -> str:
    """The user part of a name-addr or URI, or the text itself when it has none."""
    match = _USER.search(uri[:_LIMIT])
    return match.group(1) if match else uri


def edge_id(message: str) -> str:
    """The id that the edge gave the call; empty when there is none, or what there is could be anything else."""
    value = header(message, EDGE_ID) or ""
    return value if _EDGE_ID.fullmatch(value) else ""


def body(message: str) -> str:
    """The body of a SIP message, CRLF kept; empty when there is none."""
    return message.partition("\r\n\r\n")[2][:_LIMIT]


def info_key(message: str) -> str | None:
    """The key that an INFO request reports, as application/dtmf-relay or application/dtmf; None when it reports none.

    No standard names these bodies; `*`, `#` and A to D are also written by their RFC 4733 numbers, 10 to 15.
    """
    kind = (header(message, "Content-Type") or header(message, "c") or "").partition(";")[0].strip().lower()
    found = _SIGNAL.search(body(message)) if kind in ("application/dtmf-relay", "application/dtmf") else None
    if found is None and kind == "application/dtmf":
        found = _BARE.fullmatch(body(message))
    if found is None:
        return None
    value = _BY_NUMBER.get(found[1], found[1].upper())
    return value if len(value) == 1 else None


def with_record_attribute(sdp: str, value: str) -> str:
    """The SDP with one session-level `a=record:` (on, off or paused; RFC 7866 section 7.1.2) before its first media.

    Session level because that is what peers read (liblinphone parses nothing else).
    """
    lines = [line for line in sdp.replace("\r\n", "\n").split("\n") if line and not line.startswith("a=record:")]
    first = next((n for n, line in enumerate(lines) if line.startswith("m=")), len(lines))
    return "\r\n".join([*lines[:first], f"a=record:{value}", *lines[first:], ""])
