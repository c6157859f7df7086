# SPDX-License-Identifier: GPL-3.0-or-later
"""G.711 mu-law (ITU-T G.711), decoding only: every code has one value, so a code that was sent can be found again."""

import numpy as np
from numpy.typing import NDArray


def _decode(code: int) -> int:
    inverted = ~code & 0xFF
    magnitude = (((inverted & 0x0F) << 3) + 0x84) << ((inverted >> 4) & 7)
    value = magnitude - 0x84
    return -value if inverted & 0x80 else value


VALUES: NDArray[np.int16] = np.array([_decode(code) for code in range(256)], dtype=np.int16)
"""The 16-bit sample of each code."""

CODE_OF = {int(value): code for code, value in enumerate(VALUES)}
"""Back again; the two zeros are one."""


def decode(payload: bytes) -> NDArray[np.int16]:
    """Samples of a payload."""
    return VALUES[np.frombuffer(payload, np.uint8)]


def level(payload: bytes) -> float:
    """RMS of a payload, 0 to 32768."""
    return float(np.sqrt(np.mean(decode(payload).astype(np.float64) ** 2))) if payload else 0.0
