# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring-back and beep: cadence, frequencies, level, and no click where the loop closes."""

import numpy as np
import pytest

from ivr.flow.tones import TONES, RingBack
from media.audio import AudioError
from media.dtmf import DtmfDetector
from media.loudness import active_level
from media.tones import BEEP, RINGBACK, tone


@pytest.mark.parametrize("country", sorted(RINGBACK))
@pytest.mark.parametrize("rate", [8000, 16000])
def test_one_period_with_its_cadence_and_frequencies(country: str, rate: int) -> None:
    cadence = RINGBACK[country]
    audio = tone(f"ringback:{country}", rate)
    assert len(audio.samples) == round(sum(cadence.on_off) * rate)
    at = 0
    for index, seconds in enumerate(cadence.on_off):
        part = audio.floats()[at : at + round(seconds * rate)]
        at += len(part)
        if index % 2:
            assert not part.any()
            continue
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        peaks = {round(np.fft.rfftfreq(len(part), 1 / rate)[i] / 5) * 5 for i in np.argsort(spectrum)[-2:]}
        assert peaks & {round(hertz / 5) * 5 for hertz in cadence.hertz}
        assert active_level(part, rate) == pytest.approx(-18, abs=1)


@pytest.mark.parametrize("name", [*(f"ringback:{country}" for country in RINGBACK), "beep"])
def test_loops_without_a_click(name: str) -> None:
    values = tone(name, 8000).floats()
    twice = np.concatenate([values, values])
    # The steepest step of the whole is no steeper than the wave itself: an edge would be.
    inside = np.abs(np.diff(values[400:1600])).max()
    assert np.abs(np.diff(twice)).max() <= inside * 1.05
    assert values[-1] == 0


def test_no_tone_is_taken_for_a_key() -> None:
    for name in [*(f"ringback:{country}" for country in RINGBACK), "beep"]:
        assert DtmfDetector(8000).feed(tone(name, 8000).samples) == ""


def test_flows_and_tones_name_and_mean_the_same() -> None:
    assert set(RINGBACK) == {choice.value for choice in RingBack} - {"none"}
    for choice, declared in TONES.items():
        made = RINGBACK[choice.value]
        assert tuple(round(hertz) for hertz in made.hertz) == declared.hz
        assert tuple(round(seconds * 1000) for seconds in made.on_off) == declared.cadence_ms


def test_unknown_tone_names_the_known_ones() -> None:
    with pytest.raises(AudioError, match="ringback:uk"):
        tone("ringback:xx", 8000)
    assert tone("beep", 8000).seconds == pytest.approx(sum(BEEP.on_off))
