# SPDX-License-Identifier: GPL-3.0-or-later
"""Replay finds every way in which a log's decisions are not those of the machine, and nothing in an honest log."""

from collections.abc import Callable
from itertools import chain, zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_consent_properties import answers, anything

from consent_kit import ACCEPT, AGENT, OPT_IN, OPT_OUT, POLICIES, REFUSE, SAMPLES, SECOND, WITHDRAW
from ivr.audit.replay import Differs, ReplayReport, replay
from ivr.audit.spans import DRIFT, TOLERANCE_MS
from ivr.consent import inputs as i
from ivr.consent.errors import InvariantError
from ivr.consent.inputs import CALLER, Preference, Source
from ivr.consent.record import DECISIONS
from replay_kit import RATE, Logged, Writer, asked, changed, cleared, numbered, permitted, recorded, without


def found(events: list[Logged]) -> list[tuple[Differs, int]]:
    """Every difference: what, and at which event."""
    return [(d.what, d.seq) for d in replay(events).differences]


def at(events: list[Logged], kind: str, nth: int = 1) -> int:
    """The sequence number of the n-th event of this type."""
    return [event.seq for event in events if event.type == kind][nth - 1]


def is_of(*kinds: str) -> Callable[[Logged], bool]:
    return lambda event: event.type in kinds


# -- honest logs -------------------------------------------------------------------------------------------------------


def refused() -> Writer:
    writer = asked().tell(i.NoticeStarted(SAMPLES)).tell(i.Key(CALLER, REFUSE)).tell(i.NoticeInterrupted("stopped"))
    writer.tell(i.Joined(AGENT)).tell(i.Informed(AGENT, False)).tell(i.Left(CALLER, "bye"))
    return writer.note("call.ended", outcome="completed", reason="bye")


def withdrawn() -> Writer:
    writer = permitted().tell(i.PermitAcknowledged(1))
    start = writer.now
    writer.tell(i.RecorderStarted(1)).tell(i.Held(AGENT), 1_000)
    first = writer.now
    writer.note("recording.paused", number=1, reason="held").tell(i.Resumed(AGENT), 500)
    second = writer.now
    writer.note("recording.resumed", number=1).tell(i.Key(CALLER, WITHDRAW), 1_000)
    spans = [[0, (first - start) * 8, start], [(first - start) * 8, 8_000, second]]
    return writer.stopped(1, spans).tell(i.Left(CALLER, "bye")).note("call.ended", outcome="completed", reason="bye")


def two_agents() -> Writer:
    writer = permitted(OPT_OUT).tell(i.PermitAcknowledged(1)).tell(i.RecorderStarted(1)).tell(i.Left(AGENT, "bye"))
    writer.stopped(1, []).tell(i.Joined(SECOND)).tell(i.Informed(SECOND, True)).tell(i.PermitAcknowledged(2))
    return writer.tell(i.RecorderStarted(2)).tell(i.Left(CALLER, "bye")).stopped(2, []).note("call.ended")


def ledger_gone() -> Writer:
    writer = cleared()
    writer.permits_reach_the_ledger = False
    writer.tell(i.Joined(AGENT)).tell(i.Informed(AGENT, True)).tell(i.LedgerLost())
    return writer.tell(i.Left(CALLER, "bye")).note("call.ended", outcome="completed", reason="bye")


def permit_late() -> Writer:
    writer = permitted()
    return writer.tell(i.PermitAcknowledged(1), 600).tell(i.Left(CALLER, "bye")).note("call.ended")


def stopped_after_the_end() -> Writer:
    writer = permitted().tell(i.PermitAcknowledged(1)).tell(i.RecorderStarted(1)).tell(i.Left(CALLER, "bye"))
    return writer.note("call.ended").stopped(1, [])


def objected_before_being_asked() -> Writer:
    writer = Writer().tell(i.Preferred(CALLER, Preference.OFF)).tell(i.Joined(AGENT))
    return writer.tell(i.Preferred(AGENT, Preference.OFF)).tell(i.Left(CALLER, "bye")).note("call.ended")


def lost() -> Writer:
    writer = permitted().tell(i.PermitAcknowledged(1)).tell(i.RecorderStarted(1)).tell(i.Key(CALLER, WITHDRAW))
    assert writer.events.pop().type == "consent.withdrawn"  # died between the input and what it led to
    stop = {"recording": "recording-1", "number": 1, "reason": "lost", "rate": RATE, "spans": []}
    return writer.note("recording.stopped", **stop).note("call.lost", reason="worker-lost")


def lost_before_it_said_so() -> Writer:
    stop = {"recording": "recording-1", "number": 1, "reason": "lost", "rate": 0, "spans": []}
    return permitted().note("recording.stopped", **stop).note("call.lost", reason="ledger-restarted")


HONEST: dict[str, Callable[[], Writer]] = {
    "recorded": recorded,
    "recorded, opt-in": lambda: asked(OPT_IN).tell(i.NoticeStarted(9)).tell(i.Key(CALLER, ACCEPT)),
    "refused": refused,
    "withdrawn": withdrawn,
    "two agents": two_agents,
    "ledger gone": ledger_gone,
    "permit late": permit_late,
    "stopped after the end": stopped_after_the_end,
    "never asked": objected_before_being_asked,
    "lost in mid-decision": lost,
    "lost before it said that it started": lost_before_it_said_so,
}


@pytest.mark.parametrize("name", HONEST)
def test_nothing_is_found_in_an_honest_log(name: str) -> None:
    report = replay(HONEST[name]().events)
    assert report.differences == []
    assert report.holds


@pytest.mark.parametrize("name", HONEST)
def test_a_log_that_goes_on_may_end_anywhere(name: str) -> None:
    events = HONEST[name]().events
    for length in range(len(events)):
        assert found(events[:length]) == []


def test_what_was_replayed_is_counted() -> None:
    events = numbered([*recorded().events, Logged(0, None, "node.stopped", {}), *permitted(call="two").events])
    inputs = sum(event.type not in DECISIONS | {"call.received", "call.ended", "node.stopped"} for event in events)
    decisions = sum(event.type in DECISIONS for event in events)
    assert replay(events) == ReplayReport(len(events), 2, inputs, decisions, 0, 1, [])
    assert replay(lost().events).lost_calls == 1
    assert replay(objected_before_being_asked().events).inputs == 4


def test_calls_are_replayed_side_by_side() -> None:
    calls = [recorded(call="a").events, two_agents().events, recorded(OPT_IN_EARLY, "c").events]
    mixed = numbered([event for event in chain(*zip_longest(*calls)) if event is not None])
    assert found(mixed) == []


OPT_IN_EARLY = POLICIES["required"]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(0, 25))
def test_whatever_the_machine_writes_replays(choose: st.DataObject, length: int) -> None:
    """Any call, plausible or not: inputs that the machine refuses are not logged, as in a worker."""
    writer = Writer()
    for _ in range(length):
        usual = answers(writer.state, choose)
        surprise = choose.draw(st.integers(0, 4), "surprise") == 0
        event = choose.draw(anything, "anything") if surprise or usual is None else usual
        due = writer.state.due(event.timer) if isinstance(event, i.Expired) else None
        facts = {"rate": RATE, "spans": []} if isinstance(event, i.RecorderStopped) else {}
        try:
            writer.tell(event, max(20, (due or 0) - writer.now), **facts)
        except InvariantError:
            continue
    assert found(writer.events) == []


# -- decisions that are not the machine's ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", HONEST)
def test_every_decision_that_was_left_out_is_found(name: str) -> None:
    events = HONEST[name]().events
    for decision in [event for event in events[:-1] if event.type in DECISIONS]:
        if name == "ledger gone" or (name == "permit late" and decision.type == "recording.permitted"):
            continue  # a permit that nobody could use leaves no trace: the test below
        missing = found(numbered([event for event in events if event is not decision]))
        assert Differs.DECISION_MISSING in [what for what, _ in missing], decision


def test_a_missing_decision_is_found_at_the_input_that_led_to_it() -> None:
    events = without(refused().events, is_of("consent.decided"))
    (difference,) = replay(events).differences
    assert (difference.what, difference.seq) == (Differs.DECISION_MISSING, at(events, "consent.signalled"))
    assert difference.call == "call-1"
    assert difference.expected.startswith("consent.decided party=caller decision=refused")
    assert "nothing" in difference.found


def test_a_permit_that_was_used_must_be_in_the_log() -> None:
    events = without(recorded().events, is_of("recording.permitted"))
    assert found(events) == [(Differs.DECISION_MISSING, at(events, "recording.armed"))]


def test_a_permit_may_be_overtaken_by_an_input_but_not_by_its_use() -> None:
    writer = permitted()
    permit = writer.events.pop()
    writer.tell(i.Held(AGENT))
    writer.events.append(permit)
    writer.tell(i.PermitAcknowledged(1))
    assert found(writer.events) == []
    late = numbered([*writer.events[:-2], writer.events[-1], writer.events[-2]])
    assert [what for what, _ in found(late)] == [Differs.DECISION_MISSING, Differs.DECISION_ADDED]


def test_an_overtaken_permit_is_logged_once() -> None:
    writer = permitted()
    permit = writer.events.pop()
    writer.tell(i.Held(AGENT))
    writer.events += [permit, permit]
    assert [what for what, _ in found(writer.events)] == [Differs.DECISION_ADDED]


CHANGED: dict[str, tuple[Callable[[], Writer], str, dict[str, object]]] = {
    "refused written as granted": (refused, "consent.decided", {"decision": "granted"}),
    "another key": (refused, "consent.decided", {"key": "2"}),
    "another party": (refused, "consent.decided", {"party": AGENT}),
    "another lawful basis": (recorded, "consent.decided", {"lawful_basis": "contract"}),
    "a further field": (recorded, "consent.decided", {"key": "1"}),
    "another source": (withdrawn, "consent.withdrawn", {"source": "operator"}),
    "a party more in the permit": (recorded, "recording.permitted", {"parties": [CALLER, AGENT, SECOND]}),
    "another number": (recorded, "recording.permitted", {"number": 2}),
    "another reason": (ledger_gone, "recording.blocked", {"reason": "refused"}),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_decision_that_says_something_else_is_found(name: str) -> None:
    honest, kind, data = CHANGED[name]
    events = changed(honest().events, kind, **data)
    assert (Differs.DECISION_CHANGED, at(events, kind)) in found(events)


def added(events: list[Logged], after: str, kind: str, **data: object) -> list[Logged]:
    place = at(events, after) + 1
    event = Logged(0, "call-1", kind, {"at_ms": events[place - 1].data["at_ms"], **data})
    return numbered([*events[:place], event, *events[place:]])


ADDED: dict[str, tuple[str, str, dict[str, object]]] = {
    "a permit before the notice": (
        "consent.asked",
        "recording.permitted",
        {"number": 1, "parties": [CALLER], "reason": "all_cleared", "recording": "x"},
    ),
    "a consent nobody gave": ("notice.completed", "consent.decided", {"party": CALLER, "decision": "granted"}),
    "a withdrawal nobody made": ("recording.started", "consent.withdrawn", {"party": CALLER, "source": "dtmf"}),
    "a fault that was none": ("consent.asked", "recording.blocked", {"reason": "ledger"}),
    "a decision before the question": ("call.answered", "consent.decided", {"party": CALLER, "decision": "granted"}),
}


@pytest.mark.parametrize("name", ADDED)
def test_a_decision_that_the_machine_does_not_take_is_found(name: str) -> None:
    after, kind, data = ADDED[name]
    events = added(recorded().events, after, kind, **data)
    assert found(events) == [(Differs.DECISION_ADDED, at(events, after) + 1)]


def test_decisions_in_another_order_are_found() -> None:
    writer = Writer().tell(i.Answered()).tell(i.Asked(OPT_OUT))  # no key path: blocked
    writer.tell(i.Joined(AGENT)).tell(i.Preferred(AGENT, Preference.OFF, Source.OPERATOR))
    events = writer.events
    last, first = at(events, "consent.decided"), at(events, "recording.blocked")
    events[last], events[first] = events[first], events[last]
    assert {what for what, _ in found(numbered(events))} == {Differs.DECISION_MISSING, Differs.DECISION_ADDED}


# -- inputs that cannot be -------------------------------------------------------------------------------------------

NEEDED = ["recording.armed", "party.joined", "consent.asked", "notice.started", "recording.permitted"]


@pytest.mark.parametrize("kind", NEEDED)
def test_a_recording_without_one_of_its_grounds_is_found(kind: str) -> None:
    assert found(without(recorded().events, is_of(kind))) != []


def test_a_recording_that_nobody_permitted_is_found() -> None:
    events = added(refused().events, "party.joined", "recording.started", number=1, recording="x")
    assert found(events) == [(Differs.INPUT_IMPOSSIBLE, at(events, "recording.started"))]


def test_a_notice_that_was_shorter_than_it_says_is_found() -> None:
    events = changed(recorded().events, "notice.completed", samples_sent=SAMPLES - 1)
    assert Differs.DECISION_ADDED in [what for what, _ in found(events)]
    assert Differs.INPUT_IMPOSSIBLE in [what for what, _ in found(events)]


def test_another_policy_than_the_one_that_decided_is_found() -> None:
    assert found(changed(recorded().events, "consent.asked", policy=OPT_IN.as_json())) != []


MALFORMED: dict[str, tuple[str, dict[str, object]]] = {
    "policy": ("consent.asked", {"policy": {}}),
    "number": ("recording.armed", {"number": "1"}),
    "number of a recorder": ("recording.started", {"number": [1]}),
    "time": ("notice.started", {"at_ms": 1.5}),
    "no time": ("notice.started", {"at_ms": None}),
    "spans": ("recording.stopped", {"spans": None}),
    "a span": ("recording.stopped", {"spans": [[0, 1]]}),
    "a span of text": ("recording.stopped", {"spans": [["0", "1", "2"]]}),
    "a span before the call": ("recording.stopped", {"spans": [[0, 1, -2]]}),
    "rate": ("recording.stopped", {"rate": 0}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_an_input_that_no_worker_writes_is_found(name: str) -> None:
    kind, data = MALFORMED[name]
    events = changed(recorded().events, kind, **data)
    assert found(events)[0] == (Differs.INPUT_MALFORMED, at(events, kind))


def test_time_that_goes_back_is_found() -> None:
    events = changed(recorded().events, "notice.completed", at_ms=1)
    assert (Differs.TIME_GOES_BACK, at(events, "notice.completed")) in found(events)


def test_a_machine_that_nobody_has_is_named_and_its_call_left_alone() -> None:
    for version in (0, 99, "1", True, None):
        events = changed(recorded().events, "consent.asked", machine=version)
        (difference,) = replay(events).differences
        assert (difference.what, difference.found) == (Differs.MACHINE_UNKNOWN, repr(version))


# -- the life of a call ------------------------------------------------------------------------------------------------


def after_end(*kinds: str) -> list[Logged]:
    events = recorded().events
    later = [Logged(0, "call-1", kind, {"at_ms": 99_999, "party": CALLER, "reason": "x"}) for kind in kinds]
    return numbered([*events, *later])


@pytest.mark.parametrize("kind", ["leg.held", "recording.blocked", "call.ended", "call.lost", "recording.stopped"])
def test_nothing_of_a_call_comes_after_its_end(kind: str) -> None:
    events = after_end(kind)
    assert found(events) == [(Differs.CALL_NOT_OPEN, len(events) - 1)]


@pytest.mark.parametrize("kind", ["recording.accessed", "recording.erased", "bridge.ended"])
def test_what_does_not_concern_consent_may_come_later(kind: str) -> None:
    assert found(after_end(kind)) == []


def test_nothing_comes_before_a_call_is_received() -> None:
    assert found(recorded().events[1:])[0] == (Differs.CALL_NOT_OPEN, 1)


def test_a_call_is_received_once() -> None:
    events = numbered([recorded().events[0], *recorded().events])
    assert found(events) == [(Differs.CALL_NOT_OPEN, 1)]


def test_only_the_ledger_speaks_after_a_loss() -> None:
    writer = permitted().tell(i.PermitAcknowledged(1)).tell(i.RecorderStarted(1))
    writer.note("recording.stopped", number=1, reason="lost", spans=[], rate=RATE)
    writer.tell(i.Held(AGENT))
    assert found(writer.events) == [(Differs.CALL_NOT_OPEN, len(writer.events) - 1)]


def test_between_the_end_and_the_last_recording_only_recordings_speak() -> None:
    events = stopped_after_the_end().events
    wrong = Logged(0, "call-1", "leg.held", {"at_ms": 99_999, "party": AGENT})
    events = numbered([*events[:-1], wrong, events[-1]])
    assert found(events) == [(Differs.CALL_NOT_OPEN, len(events) - 2)]
    twice = numbered([*events[:-2], Logged(0, "call-1", "call.ended", {"at_ms": 99_999})])
    assert found(twice) == [(Differs.CALL_NOT_OPEN, len(twice) - 1)]


def test_a_recording_lost_after_the_end_ends_the_call() -> None:
    writer = permitted().tell(i.PermitAcknowledged(1)).tell(i.RecorderStarted(1)).tell(i.Left(CALLER, "bye"))
    writer.note("call.ended").note("recording.stopped", number=1, reason="lost", spans=[], rate=RATE)
    report = replay(writer.events)
    assert (report.differences, report.open_calls) == ([], 0)


def test_ended_calls_are_forgotten() -> None:
    """Memory is bounded by the calls that are up: the report of many ended ones knows of none."""
    events = numbered([event for n in range(20) for event in recorded(call=f"call-{n}").events])
    report = replay(iter(events))
    assert (report.calls, report.open_calls, report.differences) == (20, 0, [])


# -- spans -----------------------------------------------------------------------------------------------------------


def kept(samples: int, late_ms: int = 0) -> list[tuple[Differs, int]]:
    """A call in which recording was allowed for 1,000 ms, and a span of `samples` that begins `late_ms` after that."""
    writer = permitted().tell(i.PermitAcknowledged(1))
    start = writer.now
    writer.tell(i.RecorderStarted(1)).tell(i.Key(CALLER, WITHDRAW), start + 1_000 - writer.now)
    writer.stopped(1, [[0, samples, start + late_ms]])
    return found(writer.events)


def test_samples_are_kept_only_while_all_are_cleared() -> None:
    assert kept(8_000) == []
    assert kept(8_000 + TOLERANCE_MS * 8) == []
    assert [what for what, _ in kept(8_000 + (TOLERANCE_MS + 1) * 8)] == [Differs.SPAN_NOT_CLEARED]
    assert kept(80, late_ms=-TOLERANCE_MS) == []
    assert [what for what, _ in kept(80, late_ms=-TOLERANCE_MS - 1)] == [Differs.SPAN_NOT_CLEARED]


def test_a_span_over_a_pause_is_found() -> None:
    events = withdrawn().events
    spans = events[at(events, "recording.stopped")].data["spans"]
    whole = [[0, spans[0][1] + 4_000 + spans[1][1], spans[0][2]]]
    events = changed(events, "recording.stopped", spans=whole)
    assert found(events) == [(Differs.SPAN_NOT_CLEARED, at(events, "recording.stopped"))]


def test_clocks_may_part_by_a_little_in_a_long_recording() -> None:
    writer = permitted().tell(i.PermitAcknowledged(1))
    start = writer.now
    writer.tell(i.RecorderStarted(1)).tell(i.Left(CALLER, "bye"), 3_600_000)
    allowed = writer.now - start + TOLERANCE_MS
    longest = allowed + allowed // DRIFT
    events = writer.stopped(1, [[0, longest * 8, start]]).events
    assert found(events) == []
    events = changed(events, "recording.stopped", spans=[[0, (longest + 2) * 8, start]])
    assert [what for what, _ in found(events)] == [Differs.SPAN_NOT_CLEARED]


def test_the_spans_of_a_recorder_that_closed_by_itself_end_there() -> None:
    writer = permitted().tell(i.PermitAcknowledged(1))
    start = writer.now
    writer.tell(i.RecorderStarted(1))
    writer.stopped(1, [[0, 80_000, start]])
    assert [what for what, _ in found(writer.events)] == [Differs.SPAN_NOT_CLEARED]


def test_each_recording_has_its_own_times() -> None:
    events = two_agents().events
    first, second = at(events, "recording.started"), at(events, "recording.started", 2)
    old, new = events[first].data["at_ms"], events[second].data["at_ms"]
    stop = events[at(events, "recording.stopped", 2)]
    for start, differs in ((new, 0), (old, 1)):
        again = [
            Logged(e.seq, e.call, e.type, {**e.data, "spans": [[0, 80, start]]}) if e is stop else e for e in events
        ]
        assert len(found(again)) == differs


def test_a_difference_reads_like_one() -> None:
    (difference,) = replay(without(refused().events, is_of("consent.decided"))).differences
    assert str(difference).startswith(
        f"decision-missing: event {difference.seq}, call call-1: expected consent.decided"
    )
    assert difference.as_json()["what"] == "decision-missing"


def test_replay_of_nothing_holds() -> None:
    assert replay([]) == ReplayReport()
