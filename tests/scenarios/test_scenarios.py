# SPDX-License-Identifier: GPL-3.0-or-later
"""Every file in cases/ is one call. What came of it is compared word for word, and each ends with the same check."""

from pathlib import Path

import pytest

from scenarios.clock import watch_sealers
from scenarios.judge import came_of, judge
from scenarios.script import SECTIONS, Scenario, parse
from scenarios.stage import House, Stage, build

CASES = [parse(path) for path in sorted((Path(__file__).parent / "cases").glob("*.txt"))]


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return build(tmp_path_factory.mktemp("house"))


@pytest.mark.parametrize("scenario", CASES, ids=str)
def test_scenario(scenario: Scenario, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch_sealers(monkeypatch)
    outcome = Stage(house, scenario, tmp_path, monkeypatch).play()
    came = came_of(outcome)
    for section in SECTIONS[2:]:
        assert came.get(section, []) == scenario.expected.get(section, []), f"{scenario.title}: {section}"
    judge(outcome)
