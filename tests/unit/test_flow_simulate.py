# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated calls through the shipped flows: what is heard, and whether it would be recorded."""

import pytest

from ivr.flow.library import Library
from ivr.flow.load import FlowSet, load_flows
from ivr.flow.prompts import Prompts
from ivr.flow.simulate import AgentAnswer, ScriptError, simulate
from ivr.packaged import packaged


@pytest.fixture(scope="module")
def flows() -> FlowSet:
    return load_flows([packaged("config") / "flows"])


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    return Prompts(Library.load())


def run(flows: FlowSet, prompts: Prompts, number: str, keys: str, *agents: AgentAnswer) -> list[str]:
    flow = flows.flow_for(number)
    assert flow is not None
    return [f"{line.who}: {line.text}" for line in simulate(flow, prompts, number, keys.split(), agents)]


@pytest.mark.parametrize(
    ("number", "keys", "recorded", "told"),
    [
        ("100", "", True, "This call is recorded."),
        ("100", "9", False, "This call is not recorded."),
        ("100", "5", True, "This call is recorded."),
        ("100", "- 2", True, "This call is recorded."),
        ("200", "", False, "This call is not recorded."),
        ("200", "1", True, "This call is recorded."),
        ("200", "- 1", True, "This call is recorded."),
        ("200", "- 2", False, "This call is not recorded."),
        ("200", "2", False, "This call is not recorded."),
        ("200", "- 5", False, "This call is not recorded."),
        ("300", "", True, "Dieses Gespräch wird aufgezeichnet."),
        ("300", "9", False, "Dieses Gespräch wird nicht aufgezeichnet."),
        ("400", "2", False, "This call is not recorded."),
    ],
)
def test_recorded_or_not(flows: FlowSet, prompts: Prompts, number: str, keys: str, recorded: bool, told: str) -> None:
    lines = run(flows, prompts, number, keys)
    assert f"call: joined: {'RECORDED' if recorded else 'NOT RECORDED'}" in lines
    assert f"agent: hears: {told}" in lines
    assert ("server: recording starts" in lines) is recorded


@pytest.mark.parametrize("word", ["9", "@9"])
def test_withdrawal_in_the_joined_call(flows: FlowSet, prompts: Prompts, word: str) -> None:
    lines = run(flows, prompts, "100", f"- 3 {word}")
    after = lines[lines.index("call: joined: RECORDED") :]
    assert "server: recording stops, and what was recorded is erased" in after
    assert "caller: hears: The recording has been stopped, and what was recorded will be erased." in after


def test_agents_that_do_not_answer(flows: FlowSet, prompts: Prompts) -> None:
    busy = run(flows, prompts, "100", "- 3", AgentAnswer.BUSY)
    assert any("All our people are on the telephone" in line for line in busy)
    silent = run(flows, prompts, "100", "- 3", AgentAnswer.NO_ANSWER)
    assert any("nobody can take your call" in line for line in silent)
    second = run(flows, prompts, "100", "- 2", AgentAnswer.BUSY)
    assert "call: joined: RECORDED" in second


def test_menu_retries_and_its_way_out(flows: FlowSet, prompts: Prompts) -> None:
    lines = run(flows, prompts, "100", "- 7 -")
    assert sum("For help with an order" in line for line in lines) == 2
    assert sum("not one of the choices" in line for line in lines) == 1
    assert "call: joined: RECORDED" in lines


@pytest.mark.parametrize("keys", ["x", "12", "@", "@9", "- - - - - - 1"])
def test_a_script_that_cannot_be_played(flows: FlowSet, prompts: Prompts, keys: str) -> None:
    with pytest.raises(ScriptError):
        run(flows, prompts, "100", keys)
