# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verbs beside consent mean, beyond what the bad files refuse."""

import pytest

from ivr.flow.tones import TONES, RingBack
from ivr.flow.verbs import Bridge


@pytest.mark.parametrize(("written", "tone"), [(True, "europe"), (False, "none"), ("de", "de"), (None, "europe")])
def test_ring_back_is_a_yes_a_no_or_a_country(written: object, tone: str) -> None:
    given = {"targets": ["sip:a@127.0.0.1"], "fallback": "x", **({} if written is None else {"ring_back": written})}
    assert Bridge.model_validate(given).ring_back == tone


def test_the_section_after_a_failed_bridge() -> None:
    given = {"targets": ["sip:a@127.0.0.1"], "fallback": "x", "busy": "y"}
    bridge = Bridge.model_validate(given)
    assert [bridge.section_for(reason) for reason in ("busy", "no_answer", "declined")] == ["y", "x", "x"]


def test_every_ring_back_but_none_has_a_tone() -> None:
    assert set(TONES) == set(RingBack) - {RingBack.NONE}
    assert all(len(tone.cadence_ms) % 2 == 0 for tone in TONES.values())
