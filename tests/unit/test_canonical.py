# SPDX-License-Identifier: GPL-3.0-or-later
"""One form of base64url and of JSON: what is read is refused unless writing it again gives the same bytes."""

import base64
import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ivr.ledger.canonical import MAX_DEPTH, CanonicalError, b64url, loads, unb64url

ODD = b"AQgwEx9-_+/= \n\x00\xff"


def canonical_base64(text: bytes) -> bytes | None:
    """What the standard library makes of it, when encoding that again gives the same text."""
    try:
        raw = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=") == text else None


def decoded(text: bytes) -> bytes | None:
    try:
        return unb64url(text)
    except CanonicalError:
        return None


def test_base64url_of_few_characters_has_one_form() -> None:
    every = [*map(bytes, itertools.product(range(256), repeat=2)), *map(bytes, itertools.product(ODD, repeat=3))]
    for text in [b"", *every, *(bytes(four) for four in itertools.product(ODD, repeat=4))]:
        assert decoded(text) == canonical_base64(text), text


@given(st.binary(), st.integers(0, 255), st.integers(0, 400))
@example(b"\xff\xff", ord("9"), 2)
def test_base64url_with_a_changed_character_is_read_only_in_its_one_form(raw: bytes, byte: int, at: int) -> None:
    text = b64url(raw)
    assert decoded(text) == raw
    changed = text[:at] + bytes([byte]) + text[at + 1 :]
    assert decoded(changed) == canonical_base64(changed)


def nested(value: Any, depth: int) -> bytes:
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize("number", [1.5, 0.0, -0.0, 1e300])
@pytest.mark.parametrize("depth", range(6))
def test_a_float_is_refused_wherever_it_stands(number: float, depth: int) -> None:
    assert loads(nested("1.5", depth)) == json.loads(nested("1.5", depth))
    with pytest.raises(CanonicalError):
        loads(nested(number, depth))


def test_nesting_is_bounded() -> None:
    assert loads(nested(1, MAX_DEPTH)) == json.loads(nested(1, MAX_DEPTH))
    with pytest.raises(CanonicalError, match="deeper"):
        loads(nested(1, MAX_DEPTH + 1))
    with pytest.raises(CanonicalError, match="deeper"):
        loads(nested([], MAX_DEPTH))


def test_keys_are_ascii_and_text_need_not_be() -> None:
    assert loads('{"a":"é"}'.encode()) == {"a": "é"}
    with pytest.raises(CanonicalError, match="ASCII"):
        loads('{"é":"a"}'.encode())
