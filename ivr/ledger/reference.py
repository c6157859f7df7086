# SPDX-License-Identifier: GPL-3.0-or-later
"""A caller's reference code: 11 random digits and a check digit, easy to say, hopeless to guess. Pure but for chance.

The check digit is Damm's (totally anti-symmetric quasigroup of order 10): it finds every single wrong digit and every
swap of neighbours, so a slip of the tongue is told from a wrong code and costs nobody an attempt.
"""

import re
import secrets

DIGITS = 12
GROUP = 4

_DAMM = (
    (0, 3, 1, 7, 5, 9, 8, 6, 4, 2),
    (7, 0, 9, 2, 1, 5, 4, 8, 6, 3),
    (4, 2, 0, 6, 8, 7, 1, 3, 5, 9),
    (1, 7, 5, 0, 9, 8, 3, 4, 2, 6),
    (6, 1, 2, 3, 0, 4, 5, 9, 7, 8),
    (3, 6, 7, 4, 2, 0, 9, 5, 8, 1),
    (5, 8, 6, 9, 7, 2, 0, 1, 3, 4),
    (8, 9, 4, 5, 3, 6, 2, 0, 1, 7),
    (9, 4, 3, 8, 6, 1, 7, 2, 0, 5),
    (2, 5, 8, 1, 4, 3, 6, 7, 9, 0),
)
_FILLERS = re.compile(r"[\s.\-/]")


class BadReference(ValueError):
    """Not a reference code: a digit is missing, wrong or swapped."""


def new_reference() -> str:
    """Twelve digits."""
    body = "".join(str(secrets.randbelow(10)) for _ in range(DIGITS - 1))
    return body + str(_damm(body))


def read_reference(text: str) -> str:
    """The digits of a code as somebody wrote it. Raises BadReference."""
    digits = _FILLERS.sub("", text)
    if not (digits.isascii() and digits.isdigit() and len(digits) == DIGITS):
        raise BadReference(f"a reference code has {DIGITS} digits")
    if _damm(digits) != 0:
        raise BadReference("this is no reference code: a digit is wrong, or two were swapped")
    return digits


def groups(digits: str) -> list[str]:
    """`1234`, `5678`, `9012`: as it is spoken."""
    return [digits[at : at + GROUP] for at in range(0, len(digits), GROUP)]


def _damm(digits: str) -> int:
    state = 0
    for digit in digits:
        state = _DAMM[state][int(digit)]
    return state
