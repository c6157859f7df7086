# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest samples of a recording, not sealed yet and therefore still possible to take back."""

from collections import deque

import numpy as np

from ivr.vault.segments import Audio


class Tail:
    """A queue of (n, 2) sample blocks, counted from the recording's first sample. Pure; owned by one thread."""

    def __init__(self) -> None:
        self._blocks: deque[Audio] = deque()
        self.start = 0
        self.samples = 0

    @property
    def end(self) -> int:
        """One past the newest sample."""
        return self.start + self.samples

    def append(self, block: Audio) -> None:
        if len(block):
            self._blocks.append(block)
            self.samples += len(block)

    def cut(self, samples: int) -> Audio:
        """Take the oldest `samples` (at most all) out, as one (n, 2) array."""
        wanted = min(samples, self.samples)
        parts: list[Audio] = []
        missing = wanted
        while missing:
            block = self._blocks.popleft()
            if len(block) > missing:
                self._blocks.appendleft(block[missing:])
                block = block[:missing]
            parts.append(block)
            missing -= len(block)
        self.start += wanted
        self.samples -= wanted
        return np.concatenate(parts) if parts else np.empty((0, 2), np.int16)

    def truncate(self, end: int) -> None:
        """Forget every sample from `end` on; when `end` is before the tail, all of it, and count on from `end`."""
        if end <= self.start:
            self._blocks.clear()
            self.start, self.samples = end, 0
            return
        while self.end > end:
            block = self._blocks.pop()
            keep = len(block) - min(len(block), self.end - end)
            self.samples -= len(block) - keep
            if keep:
                self._blocks.append(block[:keep])

    def clear(self) -> None:
        """Forget the audio, keep the count."""
        self.truncate(self.start)
