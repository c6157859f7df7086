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
        columns, end = len(self._peaks), self._end_ms
        last_ms = at_ms + (len(audio) - 1) * 1000 / rate
        first, last = (min(int(time * columns / end), columns - 1) for time in (at_ms, last_ms))
        # Where in `audio` each column begins; comparing edges is a thousand times less work than placing each sample.
        edges = np.ceil((np.arange(first + 1, last + 1) * end / columns - at_ms) * rate / 1000).astype(np.int64)
        starts = np.unique(np.concatenate([[0], edges.clip(0, len(audio) - 1)]))
        where = np.minimum(((at_ms + starts * 1000 / rate) * columns / end + 1e-9).astype(np.int64), columns - 1)
        high = np.maximum.reduceat(audio, starts, axis=0).astype(np.float64)
        low = np.minimum.reduceat(audio, starts, axis=0).astype(np.float64)
        self._peaks[where] = np.fmax(self._peaks[where], np.maximum(high, -low) / FULL_SCALE)


def _placed(
    spans: Sequence[tuple[int, int, int]], rate: int, start: int, audio: Audio
) -> Iterable[tuple[float, Audio]]:
    """The parts of a segment that begin at sample `start`, each with the call's time of its first sample."""
    for first, samples, at_ms in spans:
        low, high = max(first, start), min(first + samples, start + len(audio))
        if low < high:
            yield at_ms + (low - first) * 1000 / rate, audio[low - start : high - start]
