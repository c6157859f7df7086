# SPDX-License-Identifier: GPL-3.0-or-later
"""PRODUCT.md's promises over random calls: plausible sessions, and inputs in any order at all."""

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from consent_kit import POLICIES, SAMPLES
from ivr.consent import inputs as i
from ivr.consent.effects import (
    Arm,
    Decided,
    Decision,
    Disarm,
    Effect,
    PauseRecording,
    Permit,
    ResumeRecording,
    StartRecording,
    StopRecording,
    Withdrawn,
)
from ivr.consent.inputs import CALLER, Input, KeyPath, Preference, Source, Timer
from ivr.consent.machine import InvariantError, step
from ivr.consent.permit import Answer, may_record
from ivr.consent.policy import Mode, Policy
from ivr.consent.state import ABSORBING, PARTY_WAITS, RECORDING_WAITS, Recording, Standing, State, initial

RUNS = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PARTIES = (CALLER, "agent-1", "agent-2")
KEEPING = (Recording.OPENING, Recording.RUNNING, Recording.PAUSED)
YES = {Decision.GRANTED, Decision.NOT_OBJECTED, Decision.INFORMED}

party = st.sampled_from(PARTIES)
agent = st.sampled_from(PARTIES[1:])
number = st.integers(0, 3)
reason = st.sampled_from(["", "hangup", "media", "disk_full"])
paths = st.sampled_from([frozenset(), frozenset({KeyPath.RFC4733}), frozenset({KeyPath.INFO, KeyPath.INBAND})])
samples = st.sampled_from([0, SAMPLES - 1, SAMPLES, SAMPLES + 1])
keys = st.builds(i.Key, party, st.sampled_from("1259"), st.sampled_from([Source.DTMF, Source.INFO]))
preferences = st.builds(
    i.Preferred, party, st.sampled_from(Preference), st.sampled_from([Source.RECORDPREF, Source.OPERATOR])
)
anything: SearchStrategy[Input] = st.one_of(
    st.builds(i.Answered, paths),
    st.builds(i.Asked, st.sampled_from(list(POLICIES.values()))),
    st.builds(i.NoticeStarted, samples),
    st.builds(i.NoticeCompleted, samples, samples),
    st.builds(i.NoticeInterrupted, reason),
    st.builds(i.NoticeFailed, reason),
    keys,
    preferences,
    st.builds(i.Held, party),
    st.builds(i.Resumed, party),
    st.builds(i.Renegotiated, party, paths),
    st.builds(i.Joined, agent),
    st.builds(i.Informed, party, st.booleans()),
    st.builds(i.NotInformed, party, reason),
    st.builds(i.Left, party, reason),
    st.builds(i.PermitAcknowledged, number),
    st.builds(i.RecorderStarted, number),
    st.builds(i.RecorderFailed, number, reason),
    st.builds(i.RecorderStopped, number),
    st.builds(i.LedgerLost, reason),
    st.builds(i.Faulted, reason),
    st.builds(i.Expired, st.sampled_from(Timer)),
)


@dataclass
class Watcher:
    """Follows a call and checks every promise after every input. It keeps its own books, apart from the machine's."""

    state: State = field(default_factory=initial)
    now: int = 0
    notice: int = 0
    whole: bool = False
    held: set[str] = field(default_factory=set)
    said_yes: bool = False
    said_no: bool = False
    asked_for: list[int] = field(default_factory=list)
    durable: set[int] = field(default_factory=set)
    armed: set[Timer] = field(default_factory=set)

    def tell(self, event: Input, after_ms: int = 10) -> None:
        self.now += after_ms
        before = self.state
        try:
            after, effects = step(before, event, self.now)
        except InvariantError:
            return  # what must hold then: nothing has changed, and the call goes on with the old state
        assert step(before, event, self.now) == (after, effects), "the same twice"
        if after == before:
            assert effects == ()
        self.state = after
        self.overhear(event, before)
        for effect in effects:
            self.check(effect, before)
        self.check_states(before)

    def overhear(self, event: Input, before: State) -> None:
        match event:
            case i.NoticeStarted(total) if before.caller is Standing.ASKED:
                self.notice, self.whole = total, False
                assert CALLER not in self.held or self.state.caller is Standing.UNINFORMED
            case i.NoticeCompleted(sent, total) if not self.whole:
                self.whole = CALLER not in self.held and before.answered and sent >= total == self.notice > 0
            case i.Renegotiated(who) if who == CALLER and not self.whole:
                self.notice = 0
            case i.Held(who):
                self.held.add(who)
                if who == CALLER and not self.whole:
                    self.notice = 0
            case i.Resumed(who):
                self.held.discard(who)
            case i.PermitAcknowledged(n):
                self.durable.add(n)

    def check(self, effect: Effect, before: State) -> None:
        standings = dict(self.state.parties)
        match effect:
            case Decided(who, decision):
                self.said_yes |= who == CALLER and decision in YES
                self.said_no |= decision not in YES
            case Withdrawn():
                self.said_no = True
            case Permit(n, named):
                assert self.whole, "a permit without a whole notice"
                assert self.said_yes, "a permit without a decision that allows it"
                assert not self.said_no, "a permit after somebody said no"
                assert self.state.policy is not None
                assert self.state.policy.mode is not Mode.NEVER
                assert self.state.key_paths or not self.state.policy.needs_key_path
                assert n == len(self.asked_for) + 1, "permits are numbered one by one"
                assert named == self.state.present
                self.asked_for.append(n)
            case StartRecording(n) | ResumeRecording(n):
                assert n in self.durable, "a recorder without a durable permit"
                assert n == self.asked_for[-1], "a recorder with a stale permit"
                assert not self.said_no
                assert all(standings[p] is Standing.CLEARED for p in self.state.present)
                assert self.state.present == self.state.permit_parties
                assert not self.held & set(self.state.present)
            case PauseRecording(n) | StopRecording(n):
                assert before.recording in KEEPING or self.state.recording in KEEPING
                assert n == self.asked_for[-1]
            case Arm(timer):
                self.armed.add(timer)
            case Disarm(timer):
                self.armed.discard(timer)

    def check_states(self, before: State) -> None:
        after = self.state
        for who, standing in before.parties:
            if standing in ABSORBING:
                assert after.standing(who) in (standing, Standing.LEFT)
        if before.final:
            assert after.final
        if before.closed:
            assert after.closed
        if self.said_no or may_record(after).answer is Answer.NO:
            assert after.recording in (Recording.STOPPING, Recording.DENIED)
            assert after.final
        if after.recording is Recording.RUNNING:
            assert may_record(after).answer is Answer.YES
            assert after.present == after.permit_parties
        self.check_waits()

    def check_waits(self) -> None:
        """Every waiting state has a deadline, and its end leads out of it."""
        after = self.state
        waits = {PARTY_WAITS.get(after.caller), RECORDING_WAITS.get(after.recording)} - {None}
        assert {timer for timer, _ in after.deadlines} == waits
        for timer, due in after.deadlines:
            ended, _ = step(after, i.Expired(timer), due)
            new = ended.due(timer)
            assert new is None or new > due, f"{timer} leads back to itself"
            assert step(after, i.Expired(timer), due - 1) == (after, ())


@RUNS
@given(st.lists(st.tuples(anything, st.integers(0, 4_000)), max_size=40))
def test_no_order_of_inputs_breaks_a_promise(events: list[tuple[Input, int]]) -> None:
    watcher = Watcher()
    for event, after_ms in events:
        watcher.tell(event, after_ms)


# -- plausible sessions: the way up, and anything at any point of it --------------------------------------------------


def answers(state: State, choose: st.DataObject) -> Input | None:
    """What the rest of the server would report next, from the state alone; None when it is somebody else's turn."""
    follow: list[Input] = []
    match state.caller:
        case Standing.UNASKED if not state.answered:
            follow.append(i.Answered(frozenset({KeyPath.RFC4733})))
        case Standing.UNASKED if state.policy is None:
            follow.append(i.Asked(choose.draw(st.sampled_from(list(POLICIES.values())), "policy")))
        case Standing.ASKED:
            follow.append(i.NoticeStarted(SAMPLES))
        case Standing.LISTENING | Standing.ACCEPTED_EARLY:
            follow.append(i.NoticeCompleted(SAMPLES, SAMPLES))
        case Standing.DECIDING:
            follow += [i.Key(CALLER, "2"), i.Expired(Timer.WINDOW)]
        case _:
            follow += [i.Joined(p) for p in PARTIES[1:] if state.standing(p) is None]
    follow += [i.Informed(p, True) for p, s in state.parties if p != CALLER and s is Standing.UNASKED]
    match state.recording:
        case Recording.AWAITING_PERMIT:
            follow.append(i.PermitAcknowledged(state.number))
        case Recording.OPENING:
            follow.append(i.RecorderStarted(state.number))
        case Recording.STOPPING:
            follow.append(i.RecorderStopped(state.opened))
    return choose.draw(st.sampled_from(follow), "next") if follow else None


@RUNS
@given(st.data(), st.integers(0, 30))
def test_no_plausible_call_breaks_a_promise(choose: st.DataObject, length: int) -> None:
    watcher = Watcher()
    for _ in range(length):
        usual = answers(watcher.state, choose)
        event = usual
        if usual is None or choose.draw(st.integers(0, 5), "surprise") == 0:
            event = choose.draw(anything, "anything")
        if event is None:
            continue
        due = watcher.state.due(event.timer) if isinstance(event, i.Expired) else None
        watcher.tell(event, max(10, (due or 0) - watcher.now))


@RUNS
@given(st.data(), st.sampled_from([n for n, p in POLICIES.items() if p.mode is not Mode.NEVER]))
def test_the_way_up_is_there_so_that_the_other_tests_mean_something(choose: st.DataObject, name: str) -> None:
    """Without surprises every recordable call of these is recorded: the promises are not kept by recording nothing."""
    policy = POLICIES[name]
    watcher = Watcher()
    watcher.tell(i.Answered(frozenset({KeyPath.RFC4733})))
    watcher.tell(i.Asked(policy))
    for _ in range(30):
        if watcher.state.recording is Recording.RUNNING and len(watcher.state.parties) == 3:
            break
        event = answers(watcher.state, choose)
        if isinstance(event, i.Key | i.Expired):
            event = i.Key(CALLER, "2") if policy.accept_key else i.Expired(Timer.WINDOW)
            watcher.now = watcher.state.due(Timer.WINDOW) or watcher.now
        if event is not None:
            watcher.tell(event)
    assert watcher.asked_for
    assert watcher.durable


@pytest.mark.parametrize("left_at", range(1, 9))
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_caller_who_leaves_closes_the_call_at_every_point(policy: Policy, left_at: int) -> None:
    way: list[Input] = [
        i.Answered(frozenset({KeyPath.RFC4733})),
        i.Asked(policy),
        i.NoticeStarted(SAMPLES),
        i.Key(CALLER, "2"),
        i.NoticeCompleted(SAMPLES, SAMPLES),
        i.Joined("agent-1"),
        i.Informed("agent-1", True),
        i.PermitAcknowledged(1),
    ]
    watcher = Watcher()
    for event in [*way[:left_at], i.Left(CALLER, "bye")]:
        watcher.tell(event)
    if watcher.state.recording is Recording.STOPPING:
        watcher.tell(i.RecorderStopped(1))
    assert watcher.state.closed
    assert watcher.state.deadlines == ()
    for event in [*way, i.RecorderStarted(1)]:
        watcher.tell(event)
    assert watcher.state.closed
