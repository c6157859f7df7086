# SPDX-License-Identifier: GPL-3.0-or-later
"""Times and retention as written, as counted, and as said again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from ivr.flow.duration import Duration, Period


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500),
        ("2s", 2000),
        ("2 s", 2000),
        ("1.5s", 1500),
        ("0.25 s", 250),
        ("1 second", 1000),
        ("90 seconds", 90_000),
        ("5 min", 300_000),
        ("2 hours", 7_200_000),
        ("1h", 3_600_000),
        ("0s", 0),
    ],
)
def test_durations(text: str, ms: int) -> None:
    assert Duration.parse(text).ms == ms


@pytest.mark.parametrize("value", [2, 2.5, "2", "s", "-2s", "2 days", "2 sec onds", "", None, True, "1.5ms", "1.2345s"])
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(PydanticCustomError, match="is not a time"):
        Duration.parse(value)


@given(st.integers(0, 10**9))
def test_a_duration_reads_what_it_writes(ms: int) -> None:
    assert Duration.parse(str(Duration(ms))) == Duration(ms)


@pytest.mark.parametrize(
    ("text", "days", "said"),
    [
        ("1 day", 1, "1 day"),
        ("90 days", 90, "90 days"),
        ("90days", 90, "90 days"),
        ("2 weeks", 14, "2 weeks"),
        ("6 months", 168, "6 months"),
        ("1 years", 365, "1 year"),
    ],
)
def test_periods(text: str, days: int, said: str) -> None:
    period = Period.parse(text)
    assert (period.days, str(period)) == (days, said)


@pytest.mark.parametrize("value", [90, "90", "0 days", "1.5 years", "forever", "-1 day", "90 hours", None, ["1 day"]])
def test_what_is_no_period(value: object) -> None:
    with pytest.raises(PydanticCustomError, match="is not a retention"):
        Period.parse(value)
