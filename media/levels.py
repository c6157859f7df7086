# SPDX-License-Identifier: GPL-3.0-or-later
"""RMS and peak of each channel of a recording, block by block, so that an hour needs no more memory than a second."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from media.audio import FULL_SCALE, AudioError
from media.loudness import decibels

_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class ChannelLevel:
    """One channel in dBFS over its whole length; -120 is digital silence."""

    rms: float
    peak: float


class LevelMeter:
    """Sums up int16 samples of shape (n,) or (n, channels)."""

    def __init__(self, channels: int) -> None:
        self.samples = 0
        self._squares = np.zeros(channels)
        self._peak = np.zeros(channels)

    def add(self, samples: NDArray[np.int16]) -> None:
        block = samples.reshape(-1, len(self._squares)).astype(np.float64) / FULL_SCALE
        if len(block):
            self.samples += len(block)
            self._squares += (block**2).sum(axis=0)
            self._peak = np.maximum(self._peak, np.abs(block).max(axis=0))

    def levels(self) -> tuple[ChannelLevel, ...]:
        """One a channel, in the channels' order."""
        count = max(1, self.samples)
        return tuple(
            ChannelLevel(decibels(float(np.sqrt(square / count))), decibels(float(peak)))
            for square, peak in zip(self._squares, self._peak, strict=True)
        )


def levels(source: Path | BinaryIO) -> tuple[ChannelLevel, ...]:
    """The levels of a sound file (WAV, FLAC, …), or of one in an open binary file. Raises AudioError."""
    try:
        with soundfile.SoundFile(str(source) if isinstance(source, Path) else source) as file:
            meter = LevelMeter(file.channels)
            for block in file.blocks(_BLOCK, dtype="int16", always_2d=True):
                meter.add(block)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"levels of {source} cannot be measured: {error}") from error
    return meter.levels()
