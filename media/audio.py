# SPDX-License-Identifier: GPL-3.0-or-later
"""Mono 16-bit audio in memory: reading, writing, resampling. No SIP, no policy."""

from contextlib import ExitStack
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from media.inmemory import content_of, memory_file

Samples = NDArray[np.int16]
FULL_SCALE = 32768.0
# The anti-alias filter falls from one to nothing over this part of the lower Nyquist frequency: 3.6 to
# 4.0 kHz at 8 kHz, above what a telephone line carries, and its ringing stays under 3 ms.
_TRANSITION = 0.1
_GUARD_SECONDS = 0.05


class AudioError(Exception):
    """Audio that cannot be read, made or used: what, where, what to do."""


@dataclass(frozen=True, slots=True)
class Audio:
    """One channel of int16 samples at `rate` Hz. The array must not be changed once it is in here."""

    samples: Samples
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def floats(self) -> NDArray[np.float64]:
        """The samples as floats in [-1, 1)."""
        return self.samples.astype(np.float64) / FULL_SCALE

    def resampled(self, rate: int) -> "Audio":
        """This audio at another rate, band-limited to the lower of the two Nyquist frequencies."""
        if rate == self.rate:
            return self
        return from_floats(resample(self.floats(), self.rate, rate), rate)

    def wav(self) -> bytes:
        """A whole WAV file (PCM 16) as bytes; the same samples always give the same bytes."""
        with memory_file() as fd:
            soundfile.write(fd, self.samples, self.rate, format="WAV", subtype="PCM_16", closefd=False)
            return content_of(fd)


def from_floats(values: NDArray[np.float64], rate: int) -> Audio:
    """Rounded to int16. Values beyond full scale are clipped, never wrapped."""
    return Audio(np.clip(np.rint(values * FULL_SCALE), -32768, 32767).astype(np.int16), rate)


def silence(seconds: float, rate: int) -> Audio:
    return Audio(np.zeros(round(seconds * rate), dtype=np.int16), rate)


def read(source: Path | bytes) -> Audio:
    """Any file libsndfile knows (WAV, FLAC, OGG, MP3, …), mixed down to mono.

    Raises AudioError for a missing, empty or unreadable file.
    """
    where = "audio data" if isinstance(source, bytes) else str(source)
    try:
        with ExitStack() as stack:
            file = stack.enter_context(memory_file(source)) if isinstance(source, bytes) else str(source)
            frames, rate = soundfile.read(file, dtype="float64", always_2d=True, closefd=False)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{where} cannot be read as audio ({error}): give a WAV or FLAC file") from error
    if not len(frames):
        raise AudioError(f"{where} holds no samples: record or render it again")
    return from_floats(frames.mean(axis=1), int(rate))


def write(path: Path, audio: Audio) -> None:
    """A WAV file (PCM 16). Not atomic: for what a person asked for; the cache has its own way."""
    path.write_bytes(audio.wav())


def resample(values: NDArray[np.float64], rate: int, target: int) -> NDArray[np.float64]:
    """Change the rate exactly (target/rate as a fraction) in the frequency domain; for prompts, not for hours.

    The spectrum is cut with a raised-cosine edge below the lower Nyquist frequency, so nothing folds back. Both
    ends are padded because a Fourier transform is periodic and the end would else ring into the beginning.
    """
    if rate <= 0 or target <= 0:
        raise AudioError(f"cannot resample from {rate} Hz to {target} Hz: both must be positive")
    if rate == target or not len(values):
        return values
    common = gcd(rate, target)
    step_in, step_out = rate // common, target // common
    guard_blocks = -(-int(_GUARD_SECONDS * rate) // step_in)
    blocks = _smooth(-(-len(values) // step_in) + 2 * guard_blocks)
    padded = np.zeros(blocks * step_in)
    start = guard_blocks * step_in
    padded[start : start + len(values)] = values
    spectrum = np.fft.rfft(padded)
    nyquist = min(rate, target) / 2
    hertz = np.arange(len(spectrum)) * (rate / len(padded))
    edge = np.clip((nyquist - hertz) / (nyquist * _TRANSITION), 0.0, 1.0)
    spectrum *= 0.5 - 0.5 * np.cos(np.pi * edge)
    length = blocks * step_out
    cut = np.zeros(length // 2 + 1, dtype=np.complex128)
    kept = min(len(cut), len(spectrum))
    cut[:kept] = spectrum[:kept]
    out = np.fft.irfft(cut, length) * (length / len(padded))
    first = guard_blocks * step_out
    wanted = -(-len(values) * step_out // step_in)
    result: NDArray[np.float64] = out[first : first + wanted]
    return result


def _smooth(least: int) -> int:
    """The next number with no prime factor above 5: a Fourier transform of a prime length takes many times as long."""
    number = least
    while True:
        rest = number
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return number
        number += 1
