# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes what is personal out of a line before it is written.

Two nets: the values that this process knows from its calls (calltrace.PERSONAL), and whatever has the form of a
telephone number, a SIP or tel URI, a display name before one, or an address with an @.
"""

import re
from re import Match

from ivr.calltrace import PERSONAL

HIDDEN = "…"
_BOUND = 8
"""A known value shorter than this is only looked for as a word of its own."""

_FORMS = re.compile(
    r"""(?P<name>"[^"\n]{1,200}")(?=\s*<(?:sips?|tel):)   # display name of a name-addr, RFC 3261 section 25.1
      | (?P<scheme>sips?:)[^\s<>"@]{1,200}@[^\s<>"',)]+   # a URI with a user part; one without names a machine
      | (?P<tel>tel:)[^\s<>"',)]+
      | (?P<mail>[\w.+%-]{1,100}@[\w.-]+(?::\d+)?)        # also a Call-ID with a host
      | (?<![\w.:/-])(?P<number>\+\d[\d ()/-]{5,24}\d|0\d[\d ()/-]{4,24}\d)(?![\w:]|\.\d)
    """,
    re.VERBOSE,
)


def hidden(value: str) -> str:
    """A number with its first three and last two signs, so that two can be told apart; of all else nothing."""
    digits = value.lstrip("+")
    if digits.isdigit() and len(value) >= _BOUND:
        return f"{value[:3]}{HIDDEN}{value[-2:]}"
    return HIDDEN


def masked(text: str) -> str:
    """The text without what is personal in it."""
    for value in PERSONAL.known:
        if value in text:
            text = _without(text, value)
    return _FORMS.sub(_form, text)


def _without(text: str, value: str) -> str:
    if len(value) >= _BOUND:
        return text.replace(value, hidden(value))
    return re.sub(rf"(?<![0-9A-Za-z]){re.escape(value)}(?![0-9A-Za-z])", hidden(value), text)


def _form(match: Match[str]) -> str:
    if match["number"]:
        return hidden(re.sub(r"[ ()/-]", "", match["number"]))
    if match["name"]:
        return f'"{HIDDEN}"'
    if match["mail"]:
        return f"{HIDDEN}@{HIDDEN}"
    return f"{match['scheme'] or match['tel']}{HIDDEN}"
