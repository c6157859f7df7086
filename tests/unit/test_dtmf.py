# SPDX-License-Identifier: GPL-3.0-or-later
"""In-band keys: found wherever they lie, at every level and twist a line may give, and never in speech."""

import numpy as np
import pytest

from ivr.flow.library import Library
from media.dtmf import HIGH, KEYS, LOW, DtmfDetector
from media.loudness import levelled
from media.tts import EspeakNg

ALL = "".join(KEYS)
RATES = (8000, 16000)


def press(
    key: str, rate: int, ms: int = 60, level: float = -15, twist: float = 0, off: float = 0, shift: int = 0
) -> np.ndarray:
    """A press in silence. `level` of a tone in dBFS RMS, `twist` in dB, `off` a part of the frequency."""
    row = next(i for i, keys in enumerate(KEYS) if key in keys)
    time = np.arange(round(rate * ms / 1000)) / rate
    amplitude = 10 ** (level / 20) * np.sqrt(2)
    low = amplitude * 10 ** (-twist / 40) * np.sin(2 * np.pi * LOW[row] * (1 + off) * time + 0.3)
    high = amplitude * 10 ** (twist / 40) * np.sin(2 * np.pi * HIGH[KEYS[row].index(key)] * (1 + off) * time + 1)
    wave = np.concatenate([np.zeros(rate // 10 + shift), low + high, np.zeros(rate // 10)])
    return np.clip(np.rint(wave * 32767), -32768, 32767).astype(np.int16)


def heard(samples: np.ndarray, rate: int) -> str:
    detector, frame = DtmfDetector(rate), rate // 50
    return "".join(detector.feed(samples[i : i + frame]) for i in range(0, len(samples), frame))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("key", ALL)
def test_every_key_of_40_ms_wherever_it_lies(key: str, rate: int) -> None:
    for shift in range(0, rate // 50, rate // 400):
        assert heard(press(key, rate, 40, shift=shift), rate) == key


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("level", [-9, -12, -25, -34])
@pytest.mark.parametrize("twist", [-8, 0, 4, 6])
@pytest.mark.parametrize("off", [-0.015, 0, 0.015])
def test_levels_twists_and_frequencies_of_q24(rate: int, level: float, twist: float, off: float) -> None:
    for key in "159D*#":
        assert heard(press(key, rate, 45, level, twist, off, shift=37), rate) == key


@pytest.mark.parametrize("rate", RATES)
def test_too_short_is_no_key(rate: int) -> None:
    for ms in (10, 20, 23):
        for shift in range(0, rate // 50, rate // 400):
            for key in "159D":
                assert heard(press(key, rate, ms, shift=shift), rate) == ""


@pytest.mark.parametrize("off", [-0.035, 0.035])
def test_wrong_frequencies_are_no_key(off: float) -> None:
    for key in ALL:
        assert heard(press(key, 8000, 100, off=off), 8000) == ""


@pytest.mark.parametrize("twist", [-13, 10])
def test_twisted_too_far_is_no_key(twist: float) -> None:
    for key in ALL:
        assert heard(press(key, 8000, 100, twist=twist), 8000) == ""


def test_too_quiet_is_no_key_and_silence_neither() -> None:
    assert heard(press("5", 8000, 100, level=-55), 8000) == ""
    assert heard(np.zeros(8000, dtype=np.int16), 8000) == ""


def test_one_tone_alone_or_with_a_third_is_no_key() -> None:
    time = np.arange(1600) / 8000
    low, high, third = (np.sin(2 * np.pi * hertz * time) for hertz in (770, 1336, 1000))
    for wave in (low * 0.5, high * 0.5, 0.2 * (low + high + 1.5 * third)):
        assert heard(np.rint(wave * 32767).astype(np.int16), 8000) == ""


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("snr", [15, 20])
def test_keys_in_noise(rate: int, snr: float) -> None:
    random = np.random.default_rng(1)
    for key in ALL:
        clean = press(key, rate, 60)
        noise = random.normal(0, 10 ** ((-15 + 3 - snr) / 20) * 32767, len(clean))
        assert heard(np.rint(clean + noise).astype(np.int16), rate) == key


def test_held_key_is_told_once_and_early() -> None:
    detector = DtmfDetector(8000)
    samples = press("7", 8000, 3000)
    told = [(i, key) for i in range(0, len(samples), 160) if (key := detector.feed(samples[i : i + 160]))]
    assert [key for _, key in told] == ["7"]
    assert told[0][0] + 160 - 800 <= 0.06 * 8000


def test_same_key_twice_and_a_lost_packet_in_one() -> None:
    one = press("5", 8000, 100)[:-800]
    pause = np.zeros(360, dtype=np.int16)
    assert heard(np.concatenate([one, pause, press("5", 8000, 60)[800:]]), 8000) == "55"
    held = press("5", 8000, 200)
    held[1600:1760] = 0
    assert heard(held, 8000) == "5"


def test_a_number_dialled() -> None:
    dialled = "0301234567*#"
    assert heard(np.concatenate([press(key, 8000) for key in dialled]), 8000) == dialled


def test_key_over_the_echo_of_a_prompt() -> None:
    speech = levelled(EspeakNg().speak(" ".join(Library.load().messages["en"].values()), "en").resampled(8000)).samples
    for number, key in enumerate(ALL):
        mixed = speech[8000 * number :][:4000] * 0.1
        tones = press(key, 8000, 120, level=-34).astype(np.float64)
        mixed[: len(tones)] += tones
        assert heard(np.rint(mixed).astype(np.int16), 8000) == key


@pytest.mark.parametrize("language", ["de", "en", "es", "fr"])
def test_speech_is_no_key(language: str) -> None:
    text = " ".join(Library.load().messages[language].values())
    for pitch, rate in ((45, 8000), (75, 16000)):
        spoken = EspeakNg(pitch=pitch).speak(text, language)
        assert heard(levelled(spoken.resampled(rate)).samples, rate) == ""


def test_bytes_arrays_and_odd_frames_are_the_same() -> None:
    samples = press("8", 8000)
    assert DtmfDetector(8000).feed(samples.astype("<i2").tobytes()) == "8"
    detector = DtmfDetector(8000)
    assert "".join(detector.feed(samples[i : i + 37]) for i in range(0, len(samples), 37)) == "8"


def test_reset_forgets_a_half_heard_key() -> None:
    detector, samples = DtmfDetector(8000), press("8", 8000, 40)
    half = 800 + 240
    assert detector.feed(samples[:half]) == ""
    detector.reset()
    assert detector.feed(samples[half:]) == ""


def test_rate_too_low_is_refused() -> None:
    for rate in (4000, 8050):
        with pytest.raises(ValueError, match="8000 Hz"):
            DtmfDetector(rate)
