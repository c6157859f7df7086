# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a prompt unfit to play: each fault is found, with its measure, and a good prompt has none."""

from dataclasses import replace
from pathlib import Path

import pytest

from media.cache import PromptCache, Spoken
from media.check import Fault, check, judge, spoken_letters
from media.loudness import Levelling, Loudness
from media.tts import EspeakNg

TEXT = "This call is recorded for quality assurance."
GOOD = Loudness(active=-20, true_peak=-3.1, seconds=3.3, leading=0.1, trailing=0.2, clipped=0)


def test_a_good_prompt_has_no_fault() -> None:
    assert judge(GOOD, TEXT) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"clipped": 3}, Fault.CLIPPED),
        ({"true_peak": -1.0}, Fault.PEAK),
        ({"active": -30.0}, Fault.LEVEL),
        ({"active": -12.0}, Fault.LEVEL),
        ({"active": -120.0}, Fault.SILENT),
        ({"leading": 0.5, "seconds": 3.7}, Fault.LEADING_SILENCE),
        ({"trailing": 1.5, "seconds": 4.6}, Fault.TRAILING_SILENCE),
        ({"seconds": 1.3}, Fault.TOO_SHORT),
        ({"seconds": 9.0}, Fault.TOO_LONG),
    ],
)
def test_each_fault_alone_is_found(change: dict[str, float], fault: Fault) -> None:
    [finding] = judge(replace(GOOD, **change), TEXT)
    assert finding.fault is fault
    assert fault.value in str(finding)


def test_digits_are_words() -> None:
    assert spoken_letters("Press 1 now!") == 5 + 4 + 3


def test_notice_cut_in_the_middle_is_too_short(tmp_path: Path) -> None:
    cache = PromptCache(tmp_path)
    half = cache.render(Spoken(TEXT, "en"), 8000, EspeakNg())
    assert check(half) == []
    [finding] = check(replace(half, text=TEXT * 4))
    assert finding.fault is Fault.TOO_SHORT


def test_level_that_was_asked_for_elsewhere_is_found(tmp_path: Path) -> None:
    cache = PromptCache(tmp_path, Levelling(active=-30))
    [finding] = check(cache.render(Spoken(TEXT, "en"), 8000, EspeakNg()))
    assert finding.fault is Fault.LEVEL
    assert finding.measured == pytest.approx(-30, abs=0.7)
