# SPDX-License-Identifier: GPL-3.0-or-later
"""Every bad flow file is refused with exactly the mistakes that its first lines name; every good one loads."""

import re
from pathlib import Path

import pytest

from ivr.flow.library import Library
from ivr.flow.load import load_flows
from ivr.flow.place import FileError
from ivr.flow.prompts import prompt_mistakes
from ivr.packaged import packaged

FLOWS = Path(__file__).parents[1] / "data" / "flows"
BAD = sorted((FLOWS / "bad").glob("*.yaml"))
GOOD = sorted((FLOWS / "good").glob("*.yaml"))
EXPECT = re.compile(r"# expect: line (\d+): (.+)")


@pytest.fixture(scope="module")
def library() -> Library:
    return Library.load()


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_bad(file: Path, library: Library) -> None:
    expected = [(int(line), text) for line, text in EXPECT.findall(file.read_text())]
    assert expected, f"{file} does not say what is expected"
    with pytest.raises(FileError) as caught:
        load_flows([file], checks=[lambda flow: prompt_mistakes(flow, library)])
    found = [(mistake.line, str(mistake)) for mistake in caught.value.mistakes]
    for line, text in expected:
        assert any(line == at and text in said for at, said in found), f"{text!r} on line {line} is not in\n{found}"
    assert len(found) == len(expected), caught.value


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_good(file: Path) -> None:
    assert load_flows([file]).flows


def test_shipped_flows_load_together_with_their_prompts(library: Library) -> None:
    flows = load_flows([packaged("config") / "flows"], checks=[lambda flow: prompt_mistakes(flow, library)])
    assert {flow.name for flow in flows.flows} == {"support", "survey", "hotline", "information"}


def test_a_mistake_in_one_file_does_not_hide_those_of_another() -> None:
    with pytest.raises(FileError) as caught:
        load_flows([FLOWS / "bad" / "missing-language.yaml", FLOWS / "bad" / "start-unknown.yaml"])
    assert {mistake.file.stem for mistake in caught.value.mistakes} >= {"missing-language", "start-unknown"}
