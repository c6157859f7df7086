# SPDX-License-Identifier: GPL-3.0-or-later
"""Level, true peak, silence and clipping: measured right, and brought to where they must be."""

import numpy as np
import pytest

from media.audio import Audio, AudioError, from_floats, silence
from media.loudness import FLOOR_DBFS, Levelling, active_level, clipped, levelled, measure, trimmed, true_peak
from media.tts import EspeakNg

RATE = 8000


def tone(seconds: float, amplitude: float = 0.5, rate: int = RATE, hertz: float = 400.0) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def test_full_scale_sine_is_3_db_under() -> None:
    assert active_level(tone(1, 1.0), RATE) == pytest.approx(-3.01, abs=0.05)
    assert active_level(np.zeros(800), RATE) == FLOOR_DBFS


def test_pauses_do_not_lower_the_level() -> None:
    speech = tone(1)
    with_pause = np.concatenate([speech, np.zeros(5 * RATE), speech])
    assert active_level(with_pause, RATE) == pytest.approx(active_level(speech, RATE), abs=0.1)


def test_quiet_background_does_not_lower_the_level() -> None:
    noisy = np.concatenate([tone(1), tone(5, 0.003)])
    assert active_level(noisy, RATE) == pytest.approx(active_level(tone(1), RATE), abs=0.1)


def test_true_peak_sees_between_the_samples() -> None:
    # A quarter of the rate, sampled at 45 degrees: every sample is 3 dB under the wave's top.
    values = 0.5 * np.sin(np.pi / 2 * np.arange(RATE) + np.pi / 4)
    assert 20 * np.log10(np.abs(values).max()) == pytest.approx(-9.03, abs=0.05)
    assert true_peak(values, RATE) == pytest.approx(-6.02, abs=0.3)


def test_clipping_is_runs_at_full_scale() -> None:
    assert clipped(from_floats(tone(0.1, 3.0), RATE)) > 100
    assert clipped(from_floats(tone(0.1, 0.99), RATE)) == 0
    assert clipped(Audio(np.array([0, 32767, 0, -32768, 0], dtype=np.int16), RATE)) == 0
    assert clipped(Audio(np.array([0, 32767, 32767, 0, -32768, -32768, -32768], dtype=np.int16), RATE)) == 5


def test_silence_at_the_ends_is_measured_and_set() -> None:
    audio = from_floats(np.concatenate([np.zeros(4000), tone(1), np.zeros(8000)]), RATE)
    found = measure(audio)
    assert found.leading == pytest.approx(0.5, abs=0.006)
    assert found.trailing == pytest.approx(1.0, abs=0.006)
    cut = measure(trimmed(audio, 0.1, 0.2))
    assert (cut.leading, cut.trailing) == (pytest.approx(0.1, abs=0.006), pytest.approx(0.2, abs=0.006))
    grown = measure(trimmed(from_floats(tone(1), RATE), 0.1, 0.2))
    assert (grown.leading, grown.trailing) == (pytest.approx(0.1, abs=0.006), pytest.approx(0.2, abs=0.006))


@pytest.mark.parametrize("gain", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_speech_of_any_level_comes_out_the_same(gain: float, rate: int) -> None:
    spoken = EspeakNg().speak("This call is recorded. Press 1 if you do not want that.", "en").resampled(rate)
    found = measure(levelled(from_floats(spoken.floats() * gain, rate)))
    assert found.active == pytest.approx(-20.0, abs=0.7)
    assert found.true_peak <= -3.0
    assert found.clipped == 0
    assert found.leading == pytest.approx(0.1, abs=0.006)
    assert found.trailing == pytest.approx(0.2, abs=0.006)


def test_peaks_are_held_where_the_level_would_push_them_over() -> None:
    # A click far above the rest: at the right level it would be 3 dB beyond full scale.
    values = tone(2, 0.1)
    values[8000:8005] += 0.85
    out = levelled(from_floats(values, RATE), Levelling(active=-20, peak=-3))
    assert true_peak(out.floats(), RATE) <= -3.0
    assert clipped(out) == 0
    # Held around the burst only: the rest does not pay for it.
    assert active_level(out.floats(), RATE) == pytest.approx(-20, abs=1.5)


def test_silence_cannot_be_levelled() -> None:
    with pytest.raises(AudioError, match="no speech"):
        levelled(silence(2, RATE))
    with pytest.raises(AudioError, match="no speech"):
        trimmed(silence(2, RATE), 0, 0)
