# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognising a prompt on the wire: by its first packet that is loud, less the time at which that one is due."""

import numpy as np

from bench.g711 import decode
from bench.rtp import FRAME, Packet

SILENT = 20.0
"""RMS below which a packet is silence, of 32768."""


class Marked:
    """One prompt, from its samples."""

    def __init__(self, samples: np.ndarray) -> None:
        frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
        place = int(np.argmax([_rms(frame) > 5 * SILENT for frame in frames]))
        self._frame = frames[place]
        self.offset_ms = 20.0 * place
        """How long after the prompt's first packet this one is due."""

    def found(self, packet: Packet) -> bool:
        """Whether it is this packet and nothing else, but for the rounding of G.711."""
        return self._is(decode(packet.payload).astype(np.float64))

    def found_over(self, packet: Packet) -> bool:
        """The same where somebody speaks a constant level at the same time."""
        heard = decode(packet.payload).astype(np.float64)
        return self._is(heard - np.mean(heard) + np.mean(self._frame))

    def _is(self, heard: np.ndarray) -> bool:
        return len(heard) == FRAME and _rms(heard - self._frame) < 0.1 * _rms(self._frame) + 30


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))
