# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading, writing and resampling: exact lengths, a flat pass-band, nothing folded back."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from media.audio import Audio, AudioError, from_floats, read, resample, silence, write


def sine(hertz: float, rate: int, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def middle_rms(values: np.ndarray) -> float:
    cut = len(values) // 10
    return float(np.sqrt((values[cut:-cut] ** 2).mean()))


@pytest.mark.parametrize(
    ("rate", "target"), [(22050, 8000), (22050, 16000), (16000, 8000), (8000, 16000), (44100, 8000)]
)
def test_tone_in_the_pass_band_keeps_its_level_and_place(rate: int, target: int) -> None:
    for hertz in (300, 1000, 3400):
        out = resample(sine(hertz, rate), rate, target)
        assert len(out) == target
        expected = sine(hertz, target)
        cut = target // 20
        error = out[cut:-cut] - expected[cut:-cut]
        assert 20 * np.log10(np.sqrt((error**2).mean()) / middle_rms(expected)) < -60


@pytest.mark.parametrize("hertz", [4001, 4500, 6000, 7000, 10000])
def test_tone_above_the_new_nyquist_does_not_alias(hertz: int) -> None:
    out = resample(sine(hertz, 22050), 22050, 8000)
    assert 20 * np.log10(middle_rms(out) / middle_rms(sine(hertz, 22050)) + 1e-12) < -80


def test_raising_the_rate_makes_no_images() -> None:
    out = resample(sine(3000, 8000), 8000, 16000)
    spectrum = np.abs(np.fft.rfft(out[1600:-1600] * np.hanning(len(out) - 3200)))
    hertz = np.fft.rfftfreq(len(out) - 3200, 1 / 16000)
    assert 20 * np.log10(spectrum[hertz > 4000].max() / spectrum.max()) < -80


def test_end_does_not_ring_into_the_beginning() -> None:
    values = np.zeros(22050)
    values[-200:] = 0.9
    assert np.abs(resample(values, 22050, 8000)[:4000]).max() < 1e-4


@pytest.mark.parametrize("count", [1, 2, 160, 12347])
def test_length_is_rounded_up_never_cut(count: int) -> None:
    out = resample(np.ones(count), 22050, 8000)
    assert len(out) == -(-count * 160 // 441)


def test_same_rate_and_nothing_at_all() -> None:
    audio = silence(0.1, 8000)
    assert audio.resampled(8000) is audio
    assert len(resample(np.zeros(0), 8000, 16000)) == 0
    with pytest.raises(AudioError):
        resample(np.zeros(3), 0, 8000)


def test_too_loud_is_clipped_not_wrapped() -> None:
    assert from_floats(np.array([1.5, -1.5, 0.0]), 8000).samples.tolist() == [32767, -32768, 0]


def test_written_and_read_back_is_the_same(tmp_path: Path) -> None:
    audio = from_floats(sine(440, 8000), 8000)
    write(tmp_path / "a.wav", audio)
    back = read(tmp_path / "a.wav")
    assert back.rate == 8000
    assert np.array_equal(back.samples, audio.samples)
    assert back.wav() == audio.wav()


def test_stereo_is_mixed_down(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.flac", np.array([[1000, 3000]] * 10, dtype=np.int16), 8000)
    assert read(tmp_path / "s.flac").samples.tolist() == [2000] * 10


@pytest.mark.parametrize("data", [b"", b"RIFF", b"not audio at all, but long enough to look at it" * 10])
def test_unreadable_audio_is_an_error_naming_the_file(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "bad.wav"
    file.write_bytes(data)
    with pytest.raises(AudioError, match=r"bad\.wav"):
        read(file)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.wav"):
        read(tmp_path / "gone.wav")
    write(tmp_path / "empty.wav", Audio(np.zeros(0, dtype=np.int16), 8000))
    with pytest.raises(AudioError, match="no samples"):
        read(tmp_path / "empty.wav")
