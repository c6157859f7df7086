# SPDX-License-Identifier: GPL-3.0-or-later
"""One channel of a recording: a party's samples on the recording's own time line.

The bridge counts for both parties with one clock, but a party's port may start a tick later, or lose ticks while its
leg is renegotiated. Skipping and padding here keep sample n of both channels at the same moment.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]


class Recorder(Protocol):
    """What a channel needs of ivr.sip.recorder.PartyRecorder."""

    @property
    def taken(self) -> int: ...

    @property
    def flushed(self) -> int: ...

    def position(self) -> int: ...

    def read(self, limit: int | None = None) -> Samples: ...


class Channel:
    """Samples from `recorder`, less those skipped, plus silence where some are missing."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._skip = 0
        self._silence = 0

    @property
    def ready(self) -> int:
        """Samples that `take` can give now."""
        self._drop_skipped()
        return self._silence + (0 if self._skip else self._recorder.flushed)

    @property
    def ahead(self) -> int:
        """Samples heard until this moment and not yet taken, flushed or not."""
        return self._silence + max(0, self._recorder.position() - self._recorder.taken - self._skip)

    def take(self, count: int) -> Samples:
        """Exactly `count` samples, int16, shape (count,); `ready` says how many there are."""
        self._drop_skipped()
        silent = min(self._silence, count)
        self._silence -= silent
        heard = self._recorder.read(count - silent)
        if not silent:
            return heard
        return np.concatenate([np.zeros(silent, dtype=np.int16), heard]).astype(np.int16, copy=False)

    def skip(self, count: int) -> None:
        """The next `count` samples are not part of the recording."""
        silent = min(self._silence, count)
        self._silence -= silent
        self._skip += count - silent

    def pad(self, count: int) -> None:
        """`count` samples are missing here: silence takes their place."""
        self._silence += count

    def _drop_skipped(self) -> None:
        if self._skip:
            self._skip -= len(self._recorder.read(self._skip))
