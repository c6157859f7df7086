# SPDX-License-Identifier: GPL-3.0-or-later
"""Levels of each channel, and recordings compressed for export."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from media.audio import AudioError, from_floats
from media.compress import encode
from media.levels import LevelMeter, levels


def stereo(seconds: float = 2.0, rate: int = 8000) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    left = from_floats(0.5 * np.sin(2 * np.pi * 440 * time), rate).samples
    return np.stack([left, np.zeros_like(left)], axis=1)


def test_each_channel_has_its_own_level(tmp_path: Path) -> None:
    file = tmp_path / "s.flac"
    soundfile.write(file, stereo(), 8000)
    left, right = levels(file)
    assert left.rms == pytest.approx(-9.03, abs=0.02)
    assert left.peak == pytest.approx(-6.02, abs=0.02)
    assert (right.rms, right.peak) == (-120, -120)
    assert levels(io.BytesIO(file.read_bytes())) == (left, right)


def test_meter_in_pieces_is_the_meter_of_the_whole() -> None:
    samples = stereo()
    whole, pieces = LevelMeter(2), LevelMeter(2)
    whole.add(samples)
    for at in range(0, len(samples), 160):
        pieces.add(samples[at : at + 160])
    assert pieces.samples == len(samples)
    for one, other in zip(whole.levels(), pieces.levels(), strict=True):
        assert one.rms == pytest.approx(other.rms)
        assert one.peak == other.peak
    assert LevelMeter(1).levels()[0].rms == -120


def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"no")
    with pytest.raises(AudioError, match=r"x\.wav"):
        levels(tmp_path / "x.wav")


@pytest.mark.parametrize("form", ["mp3", "ogg"])
def test_compressed_keeps_length_channels_and_sides(form: str) -> None:
    data = encode(stereo(), 8000, form)  # type: ignore[arg-type]
    back, rate = soundfile.read(io.BytesIO(data), always_2d=True)
    assert (rate, back.shape[1]) == (8000, 2)
    assert len(back) == pytest.approx(16000, abs=3000)
    assert np.sqrt((back[:, 0] ** 2).mean()) > 0.25
    assert np.sqrt((back[:, 1] ** 2).mean()) < 0.02


def test_what_cannot_be_compressed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AudioError, match="mp3, ogg"):
        encode(stereo(), 8000, "aac")  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="no samples"):
        encode(np.zeros(0, dtype=np.int16), 8000, "mp3")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AudioError, match="apt-get install ffmpeg"):
        encode(stereo(), 8000, "mp3")
