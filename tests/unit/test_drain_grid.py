# SPDX-License-Identifier: GPL-3.0-or-later
"""When a recording is drained next: always later, at most one period away, and never the point just reached again."""

import pytest

from ivr.calls.recorder import DRAIN_S, _next_drain


@pytest.mark.parametrize("start", [0.0, 0.1, 1_000.0, 123_456.789, 4_000_000.25])
def test_each_point_is_a_whole_period_after_the_one_before(start: float) -> None:
    at = _next_drain(start)
    assert 0 < at - start <= DRAIN_S * 1.011
    for _ in range(2_000):
        later = _next_drain(at)
        assert later - at == pytest.approx(DRAIN_S, abs=1e-6)
        at = later


def test_a_timer_that_fires_a_millisecond_early_does_not_drain_twice() -> None:
    at = _next_drain(5_000.0)
    assert _next_drain(at - 0.001) == pytest.approx(at + DRAIN_S, abs=1e-6)
