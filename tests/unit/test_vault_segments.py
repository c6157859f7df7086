# SPDX-License-Identifier: GPL-3.0-or-later
"""Segments are lossless, name their span, and say inside what they are."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from ivr.vault.errors import Damaged
from ivr.vault.segments import Label, decode, encode, parse_segment_name, segment_name
from vault_kit import noise


def stereo(samples: int) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    return np.stack([noise(samples, 1), noise(samples, 2)], axis=1)


def label(samples: int) -> Label:
    return Label("call", "recording", 3, 48_000, samples, 6_000)


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("samples", [1, 159, 16_000])
def test_every_sample_comes_back(rate: int, samples: int) -> None:
    audio = stereo(samples)
    audio[0] = (-32768, 32767)
    back, back_rate, back_label = decode(encode(audio, rate, label(samples)), "here")
    assert (back == audio).all()
    assert (back_rate, back_label) == (rate, label(samples))


def test_the_flac_command_accepts_it(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(encode(stereo(16_000), 8000, label(16_000)))
    subprocess.run(["flac", "-t", "-s", tmp_path / "a.flac"], check=True, timeout=20)


@pytest.mark.parametrize("broken", [b"", b"fLaC", b"RIFF" * 100])
def test_what_is_no_segment_is_damaged(broken: bytes) -> None:
    with pytest.raises(Damaged, match="here"):
        decode(broken, "here")


def test_a_label_that_lies_about_the_length_is_damaged() -> None:
    with pytest.raises(Damaged, match="its label says"):
        decode(encode(stereo(100), 8000, label(99)), "here")


def test_the_name_carries_the_span() -> None:
    name = segment_name(3, 48_000, 16_000)
    assert name == "000003-000000048000-000000016000.flac.age"
    assert parse_segment_name(name) == (3, 48_000, 16_000)
    for other in ("." + name, name + ".assent-part-1", "000003.flac.age", "notes.txt"):
        assert parse_segment_name(other) is None
