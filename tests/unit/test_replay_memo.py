# SPDX-License-Identifier: GPL-3.0-or-later
"""Replay with what was remembered says exactly what the machine says, step by step, of honest logs and of any other."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_consent_properties import answers, anything

from consent_kit import ACCEPT, AGENT, OPT_IN, OPT_OUT, POLICIES, SAMPLES, SECOND
from ivr.audit import replay as replaying
from ivr.audit.inputkey import KEYS
from ivr.audit.memo import Memo
from ivr.audit.replay import Differs, replay
from ivr.consent import inputs as i
from ivr.consent.effects import Effect
from ivr.consent.errors import InvariantError
from ivr.consent.inputs import CALLER, Input, Timer
from ivr.consent.machines import MACHINES, NEWEST, Machine
from ivr.consent.record import INPUTS, RecordError, event_input, input_event
from ivr.consent.state import State
from replay_kit import RATE, Logged, Writer, changed, cleared, numbered, permitted, recorded

RUNS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
JUNK: list[Any] = [
    True,
    False,
    0,
    1,
    2,
    -1,
    1.0,
    None,
    "",
    "1",
    "x",
    CALLER,
    AGENT,
    "dtmf",
    [],
    [1],
    ["info"],
    {},
    2**53,
]
TIMES = st.sampled_from([0, 0, 1, 20, 499, 500, 501, 3_000, 5_000, 200_000])
Change = Callable[[list[Logged]], list[Logged]]


# -- fast and slow -----------------------------------------------------------------------------------------------------


def a_call(choose: st.DataObject, length: int) -> list[Input]:
    """Inputs of a call, plausible with surprises."""
    writer = Writer()
    told: list[Input] = []
    for _ in range(length):
        usual = answers(writer.state, choose)
        surprise = choose.draw(st.integers(0, 5), "surprise") == 0
        event = choose.draw(anything, "anything") if surprise or usual is None else usual
        try:
            tell(writer, event, 20)
        except InvariantError:
            continue
        told.append(event)
    return told


def tell(writer: Writer, event: Input, after_ms: int) -> None:
    due = writer.state.due(event.timer) if isinstance(event, i.Expired) else None
    start = max(0, writer.now - 50)
    facts = {"rate": RATE, "spans": [[0, 400, start]]} if isinstance(event, i.RecorderStopped) else {}
    writer.tell(event, max(after_ms, (due or 0) - writer.now), **facts)


def again(inputs: list[Input], call: str, choose: st.DataObject) -> list[Logged]:
    """The same inputs at other times: what a worker writes when it is told them."""
    writer = Writer(call)
    for event in inputs:
        try:
            tell(writer, event, choose.draw(TIMES, "after"))
        except InvariantError:
            continue
    return writer.note("call.ended", outcome="completed", reason="bye").events


def mutated(events: list[Logged], choose: st.DataObject) -> list[Logged]:
    """One thing of the log is not as it was written."""
    at = choose.draw(st.integers(0, len(events) - 1), "at")
    event = events[at]
    match choose.draw(st.sampled_from(["drop", "twice", "swap", "field", "less", "more", "time"]), "change"):
        case "drop":
            return [*events[:at], *events[at + 1 :]]
        case "twice":
            return [*events[: at + 1], *events[at:]]
        case "swap" if at:
            return [*events[: at - 1], event, events[at - 1], *events[at + 1 :]]
        case "less":
            name = choose.draw(st.sampled_from(sorted(event.data)), "less")
            data: Mapping[str, Any] = {key: value for key, value in event.data.items() if key != name}
        case "time":
            data = {**event.data, "at_ms": choose.draw(TIMES, "time")}
        case "more":
            data = {**event.data, choose.draw(st.sampled_from(["key", "recording", "x"]), "more"): "1"}
        case _:
            name = choose.draw(st.sampled_from(sorted(event.data)), "field")
            data = {**event.data, name: choose.draw(st.sampled_from(JUNK), "value")}
    return [*events[:at], replace(event, data=data), *events[at + 1 :]]


def side_by_side(calls: list[list[Logged]], choose: st.DataObject) -> list[Logged]:
    left = [list(call) for call in calls if call]
    mixed: list[Logged] = []
    while left:
        one = choose.draw(st.integers(0, len(left) - 1), "whose turn")
        mixed.append(left[one].pop(0))
        left = [call for call in left if call]
    return numbered(mixed)


@RUNS
@given(st.data(), st.integers(1, 20), st.integers(0, 3))
def test_what_is_remembered_changes_no_verdict(choose: st.DataObject, length: int, changes: int) -> None:
    inputs = a_call(choose, length)
    calls = [again(inputs, f"call-{n}", choose) for n in range(4)]
    for n in range(changes):
        calls[n] = mutated(calls[n], choose) or calls[n]
    events = side_by_side(calls, choose)
    slow = replay(events, remember=0)
    assert replay(events) == slow
    assert replay(events, remember=3) == slow
    assert replay([*events, *events]) == replay([*events, *events], remember=0)


@pytest.mark.parametrize("junk", JUNK, ids=repr)
@pytest.mark.parametrize("kind", sorted(INPUTS))
def test_no_odd_value_slips_through_as_its_honest_twin(kind: str, junk: object) -> None:
    """After honest calls have filled the memory: each field of each input, changed to each odd value."""
    honest = [*recorded().events, *odd_call().events]
    if all(event.type != kind for event in honest):
        honest = [*honest, *numbered([*Writer().events, Logged(1, "call-1", kind, EXAMPLES[kind])])]
    data = next(event.data for event in honest if event.type == kind)
    for name in data:
        events = [*honest, *changed(honest, kind, **{name: junk})]
        assert replay(events) == replay(events, remember=0)


def odd_call() -> Writer:
    writer = permitted(OPT_IN).tell(i.Held(AGENT)).tell(i.Resumed(AGENT)).tell(i.Renegotiated(AGENT))
    writer.tell(i.Preferred(AGENT, i.Preference.PAUSE))
    return writer.tell(i.LedgerLost()).tell(i.Faulted()).tell(i.Left(CALLER, "bye")).note("call.ended")


# -- keys --------------------------------------------------------------------------------------------------------------

ANY_INPUT = [
    *(i.Answered(frozenset(paths)) for paths in ((), (i.KeyPath.INFO,), tuple(i.KeyPath))),
    *map(i.Asked, POLICIES.values()),
    i.NoticeStarted(1),
    i.NoticeCompleted(1, 1),
    i.NoticeInterrupted("x"),
    i.NoticeFailed("x"),
    i.Key(CALLER, "1"),
    i.Preferred(CALLER, i.Preference.OFF),
    i.Held(AGENT),
    i.Resumed(AGENT),
    i.Renegotiated(AGENT, frozenset({i.KeyPath.INFO})),
    i.Joined(AGENT),
    i.Informed(AGENT, True),
    i.NotInformed(AGENT, "x"),
    i.Left(AGENT, "x"),
    i.PermitAcknowledged(1),
    i.RecorderStarted(1),
    i.RecorderFailed(1, "x"),
    i.RecorderStopped(1),
    i.LedgerLost("x"),
    i.Faulted("x"),
    i.Expired(Timer.WINDOW),
]
EXAMPLES = {kind: {"at_ms": 20, **data} for kind, data in map(input_event, ANY_INPUT)}


def read(kind: str, data: Mapping[str, Any]) -> Input | None:
    try:
        return event_input(kind, data)
    except RecordError:
        return None


def key(kind: str, data: Mapping[str, Any]) -> Hashable | None:
    """None too for a key that cannot be looked up."""
    try:
        made = KEYS[kind](data)
        hash(made)
    except (KeyError, TypeError):
        return None
    return made


class Watched(dict[str, Any]):
    """Notes which fields are read."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)


def test_every_input_has_a_key_of_the_fields_that_are_read() -> None:
    assert KEYS.keys() == INPUTS == EXAMPLES.keys()
    for event in ANY_INPUT:
        kind, data = input_event(event)
        by_input, by_key = Watched(data), Watched(data)
        assert event_input(kind, by_input) == event
        assert key(kind, by_key) is not None
        assert by_key.read == by_input.read


def odd(value: Any) -> st.SearchStrategy[Any]:
    """Something like `value`, of the same value in another type, or something else."""
    twins = [twin for twin in JUNK if twin == value and type(twin) is not type(value)]
    if isinstance(value, dict):
        # One field: a policy in which two are odd is hardly ever one.
        return st.one_of(*(odd(item).map(lambda new, name=name: {**value, name: new}) for name, item in value.items()))
    if isinstance(value, list):
        return st.one_of(st.permutations(value), st.just(tuple(value)), st.just("".join(value)), st.just([*value, 1]))
    return st.sampled_from([value, *twins, *JUNK])


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", sorted(INPUTS))
def test_equal_keys_are_equal_inputs(kind: str, choose: st.DataObject) -> None:
    one = choose.draw(st.sampled_from([d for k, d in map(input_event, ANY_INPUT) if k == kind]))
    other = {name: choose.draw(st.one_of(st.just(value), odd(value)), name) for name, value in one.items()}
    if choose.draw(st.booleans(), "a field less"):
        other.pop(choose.draw(st.sampled_from(sorted(other))))
    both = key(kind, one), key(kind, other)
    if both[0] == both[1]:
        assert read(kind, other) == read(kind, one)
        assert repr(read(kind, other)) == repr(read(kind, one))


# -- what is remembered ------------------------------------------------------------------------------------------------


def counting(machine: Machine) -> tuple[Machine, list[Input]]:
    told: list[Input] = []

    def step(state: State, event: Input, now_ms: int) -> tuple[State, tuple[Effect, ...]]:
        told.append(event)
        return machine.step(state, event, now_ms)

    return Machine(machine.initial, step), told


def test_the_machine_is_asked_once_for_what_many_calls_do(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, told = counting(MACHINES[NEWEST])
    monkeypatch.setattr(replaying, "MACHINES", {NEWEST: machine})
    calls = numbered([event for n in range(20) for event in recorded(call=f"call-{n}").events])
    assert replay(calls[: len(calls) // 20]).holds
    once = len(told)
    assert once > 0
    told.clear()
    assert replay(calls).holds
    assert len(told) == once
    told.clear()
    assert replay(calls, remember=0).holds
    assert len(told) == 20 * once


def test_a_machine_that_keeps_time_in_another_way_is_not_remembered() -> None:
    """Its wait moves with every input and no Arm says so: at another time it would be another wait."""

    def step(state: State, _event: Input, now_ms: int) -> tuple[State, tuple[Effect, ...]]:
        return replace(state, deadlines=((Timer.WINDOW, now_ms + 100),)), ()

    memo = Memo(Machine(State, step))
    point, due = memo.beginning()
    for now in (10, 20):
        made, due = memo.make(point, due, i.Held(CALLER), now, ("held", point))
        assert due == ((Timer.WINDOW, now + 100),)
        assert made.point is not point
        assert memo.steps == {}


def test_the_memory_is_bounded() -> None:
    memo = Memo(MACHINES[NEWEST], limit=5)
    for samples in range(50):
        point, due = memo.beginning()
        policy = replace(OPT_OUT, window_ms=samples + 1)
        made, _ = memo.make(point, due, i.Asked(policy), 20, (point, samples))
        assert memo.steps[(point, samples)] is made
        assert len(memo.steps) <= 5
        assert len(memo._points) <= 6


def test_a_permit_asked_for_again_at_the_same_moment_has_a_time_of_its_own() -> None:
    """In the first call both permits have one due time, in the second they have not: a step is not its due times."""

    def call(name: str, between_ms: int) -> list[Logged]:
        writer = cleared(call=name).tell(i.Joined(AGENT)).tell(i.Joined(SECOND))
        writer.tell(i.Informed(AGENT, True)).tell(i.Informed(SECOND, True)).tell(i.Left(SECOND, "bye"), between_ms)
        writer.tell(i.PermitAcknowledged(2), 300).tell(i.RecorderStarted(2)).tell(i.Left(CALLER, "bye"))
        return writer.stopped(2, []).note("call.ended").events

    events = numbered([*call("a", 0), *call("b", 400), *call("c", 0)])
    assert replay(events).differences == []


def test_a_permit_that_came_late_is_late_after_one_in_time() -> None:
    late = permitted(call="late").tell(i.PermitAcknowledged(1), 500)
    assert late.events[-1].type == "recording.blocked"
    for calls in ([recorded().events, late.events], [late.events, recorded().events]):
        assert replay(numbered([*calls[0], *calls[1]])).differences == []


def test_an_expiry_before_its_time_is_none_after_one_in_time() -> None:
    def deciding(name: str) -> Writer:
        writer = Writer(name).tell(i.Answered(frozenset({i.KeyPath.INFO}))).tell(i.Asked(OPT_IN))
        return writer.tell(i.NoticeStarted(SAMPLES)).tell(i.NoticeCompleted(SAMPLES, SAMPLES))

    early = deciding("early").tell(i.Expired(Timer.WINDOW), 4_999).tell(i.Key(CALLER, ACCEPT))
    assert replay(numbered([*deciding("a").expire(Timer.WINDOW).events, *early.events])).differences == []


def test_a_policy_is_not_one_because_a_call_before_had_its_twin() -> None:
    policy = {**POLICIES["required"].as_json(), "window_ms": False}
    honest = recorded(POLICIES["required"]).events
    events = numbered([*honest, *changed(honest, "consent.asked", policy=policy)])
    assert Differs.INPUT_MALFORMED in [difference.what for difference in replay(events).differences]


def test_a_number_is_not_true_because_a_call_before_had_it() -> None:
    honest = recorded().events
    for value in (True, 1.0):
        events = numbered([*honest, *changed(honest, "recording.armed", number=value)])
        assert Differs.INPUT_MALFORMED in [difference.what for difference in replay(events).differences]
