# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyed pseudonyms: a number is found again without being stored in a form that could be guessed back.

HMAC-SHA-256 with a key in a file of its own; destroying the key makes every pseudonym meaningless at once.
"""

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256

from ivr.ledger.canonical import Json

# Fields that name a person by number or address. The SIP Call-ID names a dialog, not a person.
PSEUDONYMISED = ("caller", "address")

_SIP_USER = re.compile(r"(?:.*<)?\s*(?:sips?|tel):([^@;>]+)", re.IGNORECASE)
_FILLERS = re.compile(r"[\s().\-/]")


def normalised(value: str) -> str:
    """One spelling for a number or SIP user: scheme, host, parameters and fillers gone, lower case."""
    match = _SIP_USER.match(value)
    user = match[1] if match else value
    return _FILLERS.sub("", user).lower()


def pseudonym(value: str, key: bytes) -> str:
    """The 64 hex digits under which events about this number are indexed."""
    return hmac.new(key, normalised(value).encode(), sha256).hexdigest()


def pseudonyms(personal: Mapping[str, Json], key: bytes) -> list[tuple[str, str]]:
    """(field, pseudonym) of each personal field that names somebody."""
    return [
        (name, pseudonym(value, key))
        for name in PSEUDONYMISED
        if isinstance(value := personal.get(name), str) and normalised(value)
    ]
