# SPDX-License-Identifier: GPL-3.0-or-later
"""The little of SIP and SDP that pjsua2 does not parse for us. Input is hostile: lengths bounded, nothing raises."""

import re

_LIMIT = 65_536
_RECORDPREF = re.compile(r"^a=recordpref:(on|off|pause|nopreference)\s*$", re.MULTILINE | re.IGNORECASE)
_REQUEST_USER = re.compile(r"^[A-Z]+ sips?:([^@\s;>]*)@", re.IGNORECASE)
# No user is longer; without a limit a text of nothing but `sip:` would take the square of its length.
_USER = re.compile(r"sips?:([^@\s;>]{0,256})@", re.IGNORECASE)


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


def body(message: str) -> str:
    """The body of a SIP message, CRLF kept; empty when there is none."""
    return message.partition("\r\n\r\n")[2][:_LIMIT]


def with_record_attribute(sdp: str, value: str) -> str:
    """The SDP with one session-level `a=record:` (on, off or paused; RFC 7866 section 7.1.2) before its first media.

    Session level because that is what peers read (liblinphone parses nothing else).
    """
    lines = [line for line in sdp.replace("\r\n", "\n").split("\n") if line and not line.startswith("a=record:")]
    first = next((n for n, line in enumerate(lines) if line.startswith("m=")), len(lines))
    return "\r\n".join([*lines[:first], f"a=record:{value}", *lines[first:], ""])
