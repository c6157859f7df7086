# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof against its definition: a random flow that it passes has no undecided way to a recorded bridge."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.consent.policy import Mode
from ivr.flow.consent_step import Consent
from ivr.flow.edges import At, ways
from ivr.flow.load import load_flows
from ivr.flow.model import Flow, Step, verb_of
from ivr.flow.place import FileError
from ivr.flow.proof import prove
from ivr.flow.verbs import Bridge, Goto, Hangup, Menu, Play, Record
from ivr.flow.yamlnode import Source

BAD = Path(__file__).parents[1] / "data" / "flows" / "bad"
SECTIONS = ["s0", "s1", "s2", "s3"]
CONSENT = Consent.model_validate(
    {
        "mode": "opt_out",
        "lawful_basis": "contract",
        "controller": "c",
        "purposes": ["quality"],
        "retention": "1 day",
        "storage": {"place": "p"},
        "access": ["legal"],
        "keys": {"refuse": "9"},
        "on_withdraw": "keep",
    }
)
NEVER = Consent.model_validate({"mode": "never", "lawful_basis": "consent"})


def bridge(section: str, record: str) -> Bridge:
    return Bridge.model_validate({"targets": ["sip:a@127.0.0.1"], "fallback": section, "record": record})


def menu(key: str, pressed: str, otherwise: str) -> Menu:
    return Menu.model_validate({"prompt": "Press.", "keys": {key: pressed}, "otherwise": otherwise})


names = st.sampled_from(SECTIONS)
PLAIN: list[Step] = [CONSENT, NEVER, Play.model_validate("Hello."), Hangup()]
steps: st.SearchStrategy[Step] = st.one_of(
    st.sampled_from(PLAIN),
    names.map(lambda name: Goto(section=name)),
    st.builds(bridge, names, st.sampled_from(["consent", "never"])),
    st.builds(menu, st.sampled_from(["1", "9"]), names, names),
)
flows = st.lists(st.lists(steps, min_size=1, max_size=4), min_size=4, max_size=4).map(
    lambda sections: of({name: tuple(found) for name, found in zip(SECTIONS, sections, strict=True)})
)


def of(sections: dict[str, tuple[Step, ...]]) -> Flow:
    return Flow("f", ("1",), "en", next(iter(sections)), sections, Source(Path("f.yaml")))


def unrecordable_way(flow: Flow, at: At, decided: bool, seen: frozenset[tuple[At, bool]]) -> bool:
    """By plain recursion: whether some way from `at` reaches a recorded bridge undecided."""
    step = flow.sections[at.section][at.index]
    if isinstance(step, Bridge) and step.record is Record.CONSENT and not decided:
        return True
    if isinstance(step, Consent) and step.mode is not Mode.NEVER:
        decided = True
    if (at, decided) in seen:
        return False
    return any(unrecordable_way(flow, nxt, decided, seen | {(at, decided)}) for _, nxt in ways(flow, at))


@given(flows)
def test_a_proven_flow_never_reaches_a_recorded_bridge_undecided(flow: Flow) -> None:
    wrong = [m for m in prove(flow) if "a bridge that may be recorded" in m.what]
    if unrecordable_way(flow, At(flow.start, 0), False, frozenset()):
        assert prove(flow)
    if wrong:
        assert unrecordable_way(flow, At(flow.start, 0), False, frozenset())


@given(flows, st.lists(st.integers(0, 3), max_size=60))
def test_a_proven_flow_ends_when_nobody_presses_a_key(flow: Flow, choices: list[int]) -> None:
    if prove(flow):
        return
    at, left = At(flow.start, 0), iter(choices)
    for _ in range(sum(len(steps) for steps in flow.sections.values()) + 1):
        onward = [nxt for edge, nxt in ways(flow, at) if edge is None or not edge.by_key]
        if not onward:
            assert verb_of(flow.sections[at.section][at.index]) == "hangup"
            return
        at = onward[next(left, 0) % len(onward)]
    pytest.fail("still going round")


def test_the_way_is_printed_with_its_lines() -> None:
    with pytest.raises(FileError) as caught:
        load_flows([BAD / "bridge-around-consent.yaml"])
    (mistake,) = caught.value.mistakes
    file = BAD / "bridge-around-consent.yaml"
    assert mistake.path == (f"{file}:8: main: menu → key 2: talk", f"{file}:25: talk: bridge")
    assert str(mistake).endswith("\n    ".join(["", *mistake.path]))
    assert mistake.as_json()["path"] == list(mistake.path)


def test_the_circle_is_printed_without_the_steps_before_it() -> None:
    with pytest.raises(FileError) as caught:
        load_flows([BAD / "endless-goto.yaml"])
    (mistake,) = caught.value.mistakes
    assert [line.split(": ", 1)[1] for line in mistake.path] == ["again: play", "again: goto → goto: again"]


def test_a_circle_by_key_is_allowed() -> None:
    assert prove(of({"s0": (menu("1", "s0", "s1"),), "s1": (Hangup(),)})) == []


def test_a_circle_by_key_back_to_the_consent_step_is_not() -> None:
    flow = of({"s0": (CONSENT, menu("1", "s0", "s1")), "s1": (Hangup(),)})
    assert [m.what for m in prove(flow)] == ["a second consent step on one way: a call decides once"]


def test_a_menu_before_the_consent_step_may_use_its_key() -> None:
    flow = of({"s0": (menu("9", "s1", "s1"),), "s1": (CONSENT, bridge("s2", "consent"), Hangup()), "s2": (Hangup(),)})
    assert prove(flow) == []
