# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure and set the level of speech: active level, true peak, silence at the ends, clipping."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from media.audio import Audio, AudioError, from_floats, resample

Floats = NDArray[np.float64]
FLOOR_DBFS = -120.0
_FRAME_SECONDS = 0.02
# Two gates, as broadcast loudness has them (ITU-R BS.1770): pauses must not pull the level of speech down.
_ABSOLUTE_GATE_DBFS = -60.0
_RELATIVE_GATE_DB = -15.0
_SILENCE_DBFS = -50.0
_OVERSAMPLE = 4
_LIMITER_SECONDS = 0.004


@dataclass(frozen=True, slots=True)
class Levelling:
    """What a prompt is brought to: levels in dBFS (a full-scale sine has -3.01 active), pads in seconds."""

    active: float = -20.0
    peak: float = -3.0
    lead: float = 0.1
    tail: float = 0.2

    def key(self) -> str:
        """For the cache: audio made with other values is other audio."""
        return f"active{self.active:g}/peak{self.peak:g}/lead{self.lead:g}/tail{self.tail:g}"


@dataclass(frozen=True, slots=True)
class Loudness:
    """One prompt measured. Levels in dBFS, times in seconds, `clipped` the number of samples in flat tops."""

    active: float
    true_peak: float
    seconds: float
    leading: float
    trailing: float
    clipped: int


def decibels(ratio: float) -> float:
    """An amplitude ratio in dB, never under the floor."""
    return FLOOR_DBFS if ratio <= 1e-6 else float(20 * np.log10(ratio))


def measure(audio: Audio) -> Loudness:
    values = audio.floats()
    first, last = _speech_span(values, audio.rate)
    return Loudness(
        active=active_level(values, audio.rate),
        true_peak=true_peak(values, audio.rate),
        seconds=audio.seconds,
        leading=first / audio.rate,
        trailing=(len(values) - last) / audio.rate,
        clipped=clipped(audio),
    )


def active_level(values: Floats, rate: int) -> float:
    """RMS over the frames in which somebody speaks, dBFS; the floor when nobody does."""
    power = _frame_power(values, rate)
    loud = power[power > 10 ** (_ABSOLUTE_GATE_DBFS / 10)]
    if not len(loud):
        return FLOOR_DBFS
    gate = loud.mean() * 10 ** (_RELATIVE_GATE_DB / 10)
    return decibels(float(np.sqrt(loud[loud > gate].mean())))


def true_peak(values: Floats, rate: int) -> float:
    """The peak between the samples as well (four times oversampled), dBFS."""
    if not len(values):
        return FLOOR_DBFS
    between = resample(values, rate, rate * _OVERSAMPLE)
    return decibels(float(max(np.abs(values).max(), np.abs(between).max())))


def clipped(audio: Audio) -> int:
    """Samples in runs of two or more at the same full-scale value: what a clipped wave looks like."""
    at_top = (audio.samples >= 32767) | (audio.samples <= -32768)
    runs = at_top[1:] & at_top[:-1] & (audio.samples[1:] == audio.samples[:-1])
    both = np.zeros(len(audio.samples), dtype=bool)
    both[1:] |= runs
    both[:-1] |= runs
    return int(both.sum())


def trimmed(audio: Audio, lead: float, tail: float) -> Audio:
    """The speech with exactly `lead` seconds before and `tail` after it. AudioError when there is none."""
    first, last = _speech_span(audio.floats(), audio.rate)
    if first >= last:
        raise AudioError(f"nothing is louder than {_SILENCE_DBFS:g} dBFS in {audio.seconds:.2f} s: no speech in it")
    before, after = round(lead * audio.rate), round(tail * audio.rate)
    # What lies next to the speech is kept where there is enough of it: soft onsets live there.
    kept = audio.samples[max(0, first - before) : last + after]
    front = np.zeros(before - min(before, first), dtype=np.int16)
    back = np.zeros(after - min(after, len(audio.samples) - last), dtype=np.int16)
    return Audio(np.concatenate([front, kept, back]), audio.rate)


def levelled(audio: Audio, to: Levelling | None = None) -> Audio:
    """Trimmed, at the active level, its peaks under the true peak limit. AudioError: no speech in it."""
    to = to or Levelling()
    values = audio.floats()
    # Loud first: the gates are levels, and a quiet recording would be measured with its pauses cut differently.
    top = float(np.abs(values).max(initial=0.0))
    values = values * (0.5 / top) if top > 10 ** (_ABSOLUTE_GATE_DBFS / 20) else np.zeros_like(values)
    level = active_level(values, audio.rate)
    if level <= FLOOR_DBFS:
        raise AudioError(f"{audio.seconds:.2f} s of silence cannot be brought to a level: no speech in it")
    # Trimming comes after the gain: what counts as silence is a level, and the level is only right now.
    values = _limited(values * 10 ** ((to.active - level) / 20), audio.rate, to.peak)
    return trimmed(from_floats(values, audio.rate), to.lead, to.tail)


def _limited(values: Floats, rate: int, peak: float) -> Floats:
    """Look-ahead limiter without pumping: the gain dips only around what is too loud, smoothly, both ways."""
    ceiling = 10 ** ((peak - 0.3) / 20)
    size = np.abs(values)
    if size.max() > ceiling:
        reach = max(1, round(_LIMITER_SECONDS * rate))
        wanted = np.minimum(1.0, ceiling / np.maximum(size, 1e-9))
        held = sliding_window_view(np.pad(wanted, 2 * reach, constant_values=1.0), 2 * reach + 1).min(axis=1)
        window = np.hanning(2 * reach + 3)[1:-1]
        gain = np.convolve(held, window / window.sum(), mode="valid")
        values = values * gain
    over = true_peak(values, rate) - (peak - 0.1)
    return values * 10 ** (-over / 20) if over > 0 else values


def _frame_power(values: Floats, rate: int) -> Floats:
    size = max(1, round(_FRAME_SECONDS * rate))
    count = max(1, -(-len(values) // size))
    padded = np.zeros(count * size)
    padded[: len(values)] = values
    power: Floats = (padded.reshape(count, size) ** 2).mean(axis=1)
    return power


def _speech_span(values: Floats, rate: int) -> tuple[int, int]:
    """First sample and one past the last of what is not silence, to 5 ms. (n, 0) when all is silent."""
    size = max(1, rate // 200)
    count = -(-len(values) // size)
    padded = np.zeros(count * size)
    padded[: len(values)] = values
    loud = np.flatnonzero((padded.reshape(count, size) ** 2).mean(axis=1) > 10 ** (_SILENCE_DBFS / 10))
    if not len(loud):
        return len(values), 0
    return int(loud[0]) * size, min(len(values), int(loud[-1] + 1) * size)
