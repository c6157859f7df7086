# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyed pseudonyms: a number is found again without being stored in a form that could be guessed back.

HMAC-SHA-256 with a key in a file of its own; destroying the key makes every pseudonym meaningless at once. Numbers are
put into E.164 first, so that every common way of writing one finds it.
"""

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256

import phonenumbers

from ivr.ledger.canonical import Json

# Fields that name a person by number or address. The SIP Call-ID names a dialog, not a person.
PSEUDONYMISED = ("caller", "address", "number", "subject")
# Whoever hides their number has none: all of them together are no person.
NOBODY = frozenset({"", "anonymous", "unknown", "unavailable", "restricted", "private"})

_SIP_USER = re.compile(r"(?:.*<)?\s*(?:sips?|tel):([^@;>]+)", re.IGNORECASE)
_FILLERS = re.compile(r"[\s().\-/]")
# Not from the middle of a number: thousands of zeros, which a caller may well send, would take their square in time.
_TRUNK_ZERO = re.compile(r"(?<![0-9])((?:\+|00)[0-9]+\s*)\(0\)")
_DIGITS = re.compile(r"\+?[0-9]+")
# Shorter ones are extensions, which are nobody's number outside.
_SHORTEST = 7


def plain(value: str) -> str:
    """One spelling for a number or SIP user: scheme, host, parameters and fillers gone, lower case."""
    match = _SIP_USER.match(value)
    user = match[1] if match else value
    return _FILLERS.sub("", user).lower()


def e164(value: str, region: str | None) -> str | None:
    """`+4930123456` for what can be a number, else None; `region` (ISO 3166) reads those without a country."""
    # +49 (0)30 … is a common way to write a number, and no number.
    user = plain(_TRUNK_ZERO.sub(r"\1", value))
    if not _DIGITS.fullmatch(user) or len(user) < _SHORTEST:
        return None
    try:
        number = phonenumbers.parse(user, region)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def normalised(value: str, region: str | None = None) -> str:
    """E.164 when possible, else the plain spelling."""
    return e164(value, region) or plain(value)


def spellings(value: str, region: str | None = None) -> list[str]:
    """Every form in which this number may have been indexed: before a region was set, or by a trunk without `+`."""
    found = [normalised(value, region), plain(value)]
    number = e164(value, region)
    if number is not None:
        parsed = phonenumbers.parse(number)
        national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
        found += [number[1:], "00" + number[1:], plain(national)]
    return list(dict.fromkeys(form for form in found if form not in NOBODY))


def tag(form: str, key: bytes) -> bytes:
    """The keyed hash of a normal form."""
    return hmac.new(key, form.encode(), sha256).digest()


def pseudonym(value: str, key: bytes, region: str | None = None) -> str:
    """The 64 hex digits under which events about this number are indexed, where there is no key store."""
    return tag(normalised(value, region), key).hex()


def reference_pseudonym(digits: str, key: bytes) -> str:
    """The keyed hash of a caller's reference code; never equal to that of a number."""
    return tag(f"reference:{digits}", key).hex()


def pseudonyms(personal: Mapping[str, Json], key: bytes, region: str | None = None) -> list[tuple[str, str]]:
    """(field, pseudonym) of each personal field that names somebody, where there is no key store."""
    return [(name, tag(form, key).hex()) for name, form in named(personal, region)]


def named(personal: Mapping[str, Json], region: str | None = None) -> list[tuple[str, str]]:
    """(field, normal form) of each personal field that names somebody."""
    return [
        (name, form)
        for name in PSEUDONYMISED
        if isinstance(value := personal.get(name), str) and (form := normalised(value, region)) not in NOBODY
    ]
