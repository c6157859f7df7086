# SPDX-License-Identifier: GPL-3.0-or-later
"""In-band DTMF from a stream of 20 ms frames (ITU-T Q.23, Q.24), for legs that send keys as sound.

Windows of 20 ms, one every 10 ms, are projected on the eight frequencies in one matrix product. Three windows in a
row must agree, so a tone of 40 ms is found wherever it lies and one of 25 ms is not. What makes it a key and not
speech: nearly all energy is in one frequency of each group, the two are about as loud, and each keeps its frequency
(measured by how its phase moves from window to window) to within what Q.24 lets a telephone be off.
"""

import cmath
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.audio import Samples

LOW = (697.0, 770.0, 852.0, 941.0)
HIGH = (1209.0, 1336.0, 1477.0, 1633.0)
KEYS = ("123A", "456B", "789C", "*0#D")
_HOP_SECONDS = 0.010
_WINDOW_HOPS = 2
# What the projection leaves of a tone that is off by as much as is allowed, at worst.
_MOST_LOST = 0.35
_NO_SHARES = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts as a key. dBFS of one tone's RMS; dB of high over low; shares of power; parts of a frequency."""

    least_level: float = -45.0
    high_over_low: tuple[float, float] = (-10.0, 7.0)
    least_share: float = 0.60
    sure_share: float = 0.94
    """Nothing but the key in at least one window: then few windows are enough."""
    most_off: float = 0.028
    sure_windows: int = 3
    """Windows in a row that must agree when one of them is sure: a key of 40 ms."""
    windows: int = 5
    """The same where other sound is mixed in, such as the echo of a prompt: a key of about 60 ms."""
    release: int = 4
    """Windows without the key before the same key may come again: a lost packet (20 ms) takes three."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """What one window holds: the strongest tone of each group, its place and complex amplitude; the whole power."""

    low: int
    high: int
    low_tone: complex
    high_tone: complex
    power: float


class DtmfDetector:
    """One stream. `feed` frames in order; not for two threads at once."""

    def __init__(self, rate: int, thresholds: Thresholds | None = None) -> None:
        if rate < 8000 or rate % 100:
            raise ValueError(f"DTMF needs a rate of 8000 Hz or more in whole samples each 10 ms, not {rate}")
        self.rate = rate
        self.thresholds = thresholds or Thresholds()
        self._hop = round(rate * _HOP_SECONDS)
        self._size = self._hop * _WINDOW_HOPS
        time = np.arange(self._size) / rate
        # Scaled so that a sine of amplitude a gives a magnitude of a.
        self._bank = np.exp(-2j * np.pi * np.outer(time, LOW + HIGH)) * (2 / self._size)
        # How far each frequency turns in a hop: what remains of a phase's move is how far off the tone is.
        self._turn = tuple(cmath.exp(-2j * cmath.pi * hertz * _HOP_SECONDS) for hertz in LOW + HIGH)
        self._least_power = 2 * 10 ** (self.thresholds.least_level / 10)
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a gap in the stream."""
        self._rest = np.zeros(0)
        self._before: _Heard | None = None
        self._candidate: str | None = None
        self._agreed = 0
        self._clearest = 0.0
        self._held: str | None = None
        self._missed = 0

    def feed(self, frame: Samples | bytes) -> str:
        """The keys that became sure in this frame, in order: mostly "", seldom one, and one only once for each press.

        int16 samples (bytes: little-endian) of any number; what does not fill a window waits for the next frame.
        """
        given = np.frombuffer(frame, dtype="<i2") if isinstance(frame, (bytes, bytearray, memoryview)) else frame
        samples = np.concatenate([self._rest, given * (1 / 32768)])
        count = (len(samples) - self._size) // self._hop + 1
        if count < 1:
            self._rest = samples
            return ""
        hop, size = self._hop, self._size
        self._rest = samples[count * hop :]
        found = ""
        for start in range(0, count * hop, hop):
            window = samples[start : start + size]
            power = float(window @ window) / size
            found += self._counted(*self._look(window, power))
        return found

    def _counted(self, key: str | None, shares: tuple[float, float]) -> str:
        """Count windows; a key is told once, when enough windows agree."""
        limits = self.thresholds
        before, now = shares
        if key is None or key != self._candidate:
            # The window before could only be judged by this one.
            self._agreed = int(before > 0)
            self._clearest = before
        self._agreed = self._agreed + 1 if key else 0
        self._clearest = max(self._clearest, now)
        self._candidate = key
        if self._held is not None:
            self._missed = 0 if key == self._held else self._missed + 1
            if self._missed >= limits.release:
                self._held = None
        needed = limits.sure_windows if self._clearest >= limits.sure_share else limits.windows
        if key is not None and key != self._held and self._agreed >= needed:
            self._held, self._missed = key, 0
            return key
        return ""

    def _look(self, window: NDArray[np.float64], power: float) -> tuple[str | None, tuple[float, float]]:
        """The key in this window, and the key's share of the power in the window before and in this one.

        A key is known from its second window on, when the tones' true frequencies can be told; the first is then
        judged again by them.
        """
        before, self._before = self._before, None
        # Cheap first: silence ends here, and speech mostly after the projection.
        if power < self._least_power:
            return None, _NO_SHARES
        tones: list[complex] = (window @ self._bank).tolist()
        size = [abs(tone) for tone in tones]
        low = max(range(4), key=size.__getitem__)
        high = max(range(4, 8), key=size.__getitem__)
        if (size[low] ** 2 + size[high] ** 2) / 2 < _MOST_LOST * self.thresholds.least_share * power:
            return None, _NO_SHARES
        now = self._before = _Heard(low, high, tones[low], tones[high], power)
        if before is None or (before.low, before.high) != (low, high):
            return None, _NO_SHARES
        off_low = self._off(low, now.low_tone, before.low_tone)
        off_high = self._off(high, now.high_tone, before.high_tone)
        most = self.thresholds.most_off
        if abs(off_low) > most * LOW[low] or abs(off_high) > most * HIGH[high - 4]:
            return None, _NO_SHARES
        share = self._share(now, off_low, off_high)
        if not share:
            return None, _NO_SHARES
        return KEYS[low][high - 4], (self._share(before, off_low, off_high), share)

    def _share(self, heard: _Heard, off_low: float, off_high: float) -> float:
        """The two tones' share of the power, tones that far off in Hz; 0 when level, share or twist are no key's."""
        limits = self.thresholds
        low = (abs(heard.low_tone) / self._kept(off_low)) ** 2 / 2
        high = (abs(heard.high_tone) / self._kept(off_high)) ** 2 / 2
        share = (low + high) / heard.power
        if share < limits.least_share or min(low, high) < self._least_power / 2:
            return 0.0
        twist = 10 * math.log10(high / low)
        return share if limits.high_over_low[0] <= twist <= limits.high_over_low[1] else 0.0

    def _off(self, place: int, tone: complex, before: complex) -> float:
        """How far a tone is from its frequency in Hz, up to 50 each way, by the phase's move in a hop."""
        return cmath.phase(tone * before.conjugate() * self._turn[place]) / (2 * cmath.pi * _HOP_SECONDS)

    def _kept(self, off: float) -> float:
        """What the projection leaves of a tone that is `off` Hz beside: sin(x)/x."""
        turned = math.pi * off * self._size / self.rate
        return math.sin(turned) / turned if turned else 1.0
