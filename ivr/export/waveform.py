# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings as a picture of both channels along the call: how loud each column was, and where nothing was kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ivr.export.facts import Recorded
from ivr.vault.open import FULL_SCALE, OpenRecording
from ivr.vault.segments import Audio

COLUMNS = 1000


@dataclass(frozen=True, slots=True)
class Waveform:
    """The peak of each column, 0 to 1, NaN where no sample was kept. Columns divide the call's time evenly."""

    caller: npt.NDArray[np.float64]
    agent: npt.NDArray[np.float64]


class Envelope:
    """Takes in recordings, a segment at a time: an hour of audio needs no more memory than two seconds."""

    def __init__(self, end_ms: int, columns: int = COLUMNS) -> None:
        self._end_ms = max(1, end_ms)
        self._peaks = np.full((columns, 2), np.nan)

    def add(self, recorded: Recorded, opened: OpenRecording) -> None:
        """One recording. Raises CannotOpen or Damaged."""
        for fact, audio in opened.segments():
            for at_ms, part in _placed(recorded.spans, recorded.rate, fact.start, audio):
                self._put(at_ms, recorded.rate, part)

    def waveform(self) -> Waveform:
        """What was taken in."""
        return Waveform(self._peaks[:, 0], self._peaks[:, 1])

    def _put(self, at_ms: float, rate: int, audio: Audio) -> None:
        columns = len(self._peaks)
        times = at_ms + np.arange(len(audio)) * (1000 / rate)
        where = np.minimum((times * columns / self._end_ms).astype(np.int64), columns - 1)
        level = np.abs(audio.astype(np.float64)) / FULL_SCALE
        starts = np.flatnonzero(np.diff(where, prepend=-1))
        peaks = np.maximum.reduceat(level, starts, axis=0)
        self._peaks[where[starts]] = np.fmax(self._peaks[where[starts]], peaks)


def _placed(
    spans: Sequence[tuple[int, int, int]], rate: int, start: int, audio: Audio
) -> Iterable[tuple[float, Audio]]:
    """The parts of a segment that begin at sample `start`, each with the call's time of its first sample."""
    for first, samples, at_ms in spans:
        low, high = max(first, start), min(first + samples, start + len(audio))
        if low < high:
            yield at_ms + (low - first) * 1000 / rate, audio[low - start : high - start]
