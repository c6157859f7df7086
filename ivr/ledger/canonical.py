# SPDX-License-Identifier: GPL-3.0-or-later
"""Canonical JSON (RFC 8785 for the values we allow) and canonical base64url, the two layers under every hash.

Allowed are str, int below 2^53 in size, bool, None, list and dict with ASCII keys. For those, sorted keys without
white space are byte-equal to RFC 8785; floats are refused, because they are where implementations differ.
"""

import binascii
import re
from collections.abc import Mapping, Sequence

import orjson

Json = None | bool | int | str | Sequence["Json"] | Mapping[str, "Json"]

MAX_INT = 2**53 - 1
MAX_DEPTH = 16

_TO_URL = bytes.maketrans(b"+/", b"-_")
# What the other alphabet has becomes what neither has, so that the strict decoder refuses it.
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")
# By length modulo 4: the padding that the decoder wants, and the last characters whose unused bits are zero.
_TAILS = (
    (b"", frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")),
    (b"", frozenset[int]()),
    (b"==", frozenset(b"AQgw")),
    (b"=", frozenset(b"AEIMQUYcgkosw048")),
)
# Where canonical JSON may hold a float; also matches such text inside a string, so a hit is only a reason to look.
_FLOAT = re.compile(rb'(?:":|[,\[])-?[0-9]+[.eE]')
_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


class CanonicalError(ValueError):
    """A value or an encoding that has no single canonical form, or is not in it."""


def b64url(raw: bytes) -> bytes:
    """base64url without padding (RFC 7515 section 2), as ASCII bytes."""
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


def unb64url(text: bytes) -> bytes:
    """The inverse of b64url. Raises CanonicalError for padding, other alphabets and unused bits that are not zero."""
    padding, last = _TAILS[len(text) % 4]
    if text and text[-1] not in last:
        raise CanonicalError("base64url is not in its canonical form")
    try:
        return binascii.a2b_base64(text.translate(_FROM_URL) + padding, strict_mode=True)
    except binascii.Error as error:
        raise CanonicalError(f"not base64url: {error}") from None


def dumps(value: Json) -> bytes:
    """Canonical JSON. Raises CanonicalError for floats, too large integers, keys that are not ASCII, deep nesting."""
    raw = _dumps(value)
    if not _plain(raw):
        check(value)
    return raw


def loads(raw: bytes) -> Json:
    """Parse JSON that must already be canonical: duplicate keys, white space, floats and other orders are refused."""
    try:
        value: Json = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise CanonicalError(f"not JSON: {error}") from None
    if _dumps(value) != raw:
        raise CanonicalError("JSON is not in its canonical form (order, white space, duplicate keys or escapes)")
    # Integers beyond 2^53 were refused by _dumps; keys are ASCII where all is.
    if not raw.isascii() or not _simple(value):
        check(value)
    return value


def _simple(value: Json, depth: int = 1) -> bool:
    """Whether JSON that was just parsed holds no float and is not deep. Quicker than looking for one in the bytes."""
    if not isinstance(value, dict | list):
        return type(value) is not float
    for item in value.values() if isinstance(value, dict) else value:
        kind = type(item)
        if kind is float:
            return False
        if (kind is dict or kind is list) and (depth >= MAX_DEPTH or not _simple(item, depth + 1)):
            return False
    return True


def _plain(raw: bytes) -> bool:
    """Whether the bytes alone show that every value is allowed; only where they do not is the walk needed.

    ASCII throughout means ASCII keys, few brackets mean shallow; integers beyond 2^53 were refused when writing.
    """
    return raw.isascii() and raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH and not _FLOAT.search(raw)


def check(value: object, depth: int = 0) -> None:
    """Raise CanonicalError unless `value` is made of what canonical JSON allows."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is int:
        if not -MAX_INT <= value <= MAX_INT:  # type: ignore[operator]
            raise CanonicalError(f"the integer {value} is larger than 2^53 - 1")
        return
    if depth >= MAX_DEPTH:
        raise CanonicalError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise CanonicalError(f"the key {key!r} is not an ASCII string")
            check(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            check(item, depth + 1)
    elif kind is float:
        raise CanonicalError(f"the float {value!r}: events hold integers and strings only")
    else:
        raise CanonicalError(f"{kind.__name__} is not a JSON type events may hold")


def _dumps(value: Json) -> bytes:
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except (orjson.JSONEncodeError, TypeError) as error:
        raise CanonicalError(f"cannot be written as JSON: {error}") from None
