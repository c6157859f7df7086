# SPDX-License-Identifier: GPL-3.0-or-later
"""A call as the consent machine sees it, for tests: told one input after another, on a clock that the test turns."""

from ivr.consent.effects import Arm, Disarm, Effect
from ivr.consent.inputs import (
    CALLER,
    Answered,
    Asked,
    Expired,
    Informed,
    Input,
    Joined,
    Key,
    KeyPath,
    NoticeCompleted,
    NoticeStarted,
    PermitAcknowledged,
    RecorderStarted,
    Timer,
)
from ivr.consent.machine import step
from ivr.consent.policy import LawfulBasis, Mode, OnWithdraw, Policy
from ivr.consent.state import State, initial

REFUSE, ACCEPT, WITHDRAW, OTHER = "1", "2", "9", "5"
AGENT, SECOND = "agent-1", "agent-2"
SAMPLES = 8_000
PATHS = frozenset({KeyPath.RFC4733})

OPT_OUT = Policy(
    Mode.OPT_OUT, LawfulBasis.LEGITIMATE_INTERESTS, refuse_key=REFUSE, withdraw_key=WITHDRAW, window_ms=3_000
)
OPT_OUT_NO_WINDOW = Policy(Mode.OPT_OUT, LawfulBasis.CONTRACT, refuse_key=REFUSE, withdraw_key=WITHDRAW)
OPT_OUT_BOTH = Policy(
    Mode.OPT_OUT,
    LawfulBasis.LEGITIMATE_INTERESTS,
    refuse_key=REFUSE,
    accept_key=ACCEPT,
    withdraw_key=WITHDRAW,
    window_ms=3_000,
)
OPT_IN = Policy(
    Mode.OPT_IN,
    LawfulBasis.CONSENT,
    refuse_key=REFUSE,
    accept_key=ACCEPT,
    withdraw_key=WITHDRAW,
    on_withdraw=OnWithdraw.ERASE,
    window_ms=5_000,
)
REQUIRED = Policy(Mode.REQUIRED, LawfulBasis.LEGAL_OBLIGATION)
REQUIRED_WITH_WAY = Policy(Mode.REQUIRED, LawfulBasis.LEGAL_OBLIGATION, refuse_key=REFUSE, withdraw_key=REFUSE)
NEVER = Policy(Mode.NEVER, LawfulBasis.CONTRACT)

POLICIES = {
    "opt_out": OPT_OUT,
    "opt_out, no window": OPT_OUT_NO_WINDOW,
    "opt_out, accept key too": OPT_OUT_BOTH,
    "opt_in, erase": OPT_IN,
    "required": REQUIRED,
    "required, unrecorded way": REQUIRED_WITH_WAY,
    "never": NEVER,
}
RECORDABLE = {name: policy for name, policy in POLICIES.items() if policy.mode is not Mode.NEVER}

STARTED = NoticeStarted(SAMPLES)
COMPLETED = NoticeCompleted(SAMPLES, SAMPLES)


class Call:
    """One call. `tell` returns what the last input brought about, timers left out; `all` keeps everything."""

    def __init__(self, *events: Input) -> None:
        self.state: State = initial()
        self.now = 0
        self.all: list[Effect] = []
        if events:
            self.tell(*events)

    def tell(self, *events: Input, after_ms: int = 10) -> list[Effect]:
        """Feeds the inputs, one every `after_ms`."""
        effects: tuple[Effect, ...] = ()
        for event in events:
            self.now += after_ms
            self.state, effects = step(self.state, event, self.now)
            self.all += effects
        return [effect for effect in effects if not isinstance(effect, Arm | Disarm)]

    def expire(self, timer: Timer) -> list[Effect]:
        """Turns the clock to the end of this wait and says so. KeyError when nobody waits."""
        due = dict(self.state.deadlines)[timer]
        return self.tell(Expired(timer), after_ms=max(0, due - self.now))


def asked(policy: Policy = OPT_OUT) -> Call:
    return Call(Answered(PATHS), Asked(policy))


def listening(policy: Policy = OPT_OUT) -> Call:
    call = asked(policy)
    call.tell(STARTED)
    return call


def deciding(policy: Policy = OPT_OUT) -> Call:
    call = listening(policy)
    call.tell(COMPLETED)
    return call


def cleared(policy: Policy = OPT_OUT) -> Call:
    """The caller has heard all and said what this mode needs."""
    call = deciding(policy)
    if policy.mode is Mode.OPT_IN:
        call.tell(Key(CALLER, ACCEPT))
    elif policy.window_ms:
        call.expire(Timer.WINDOW)
    return call


def ringing(policy: Policy = OPT_OUT, agent: str = AGENT) -> Call:
    """The agent is up and is being told."""
    call = cleared(policy)
    call.tell(Joined(agent))
    return call


def awaiting(policy: Policy = OPT_OUT) -> Call:
    call = ringing(policy)
    call.tell(Informed(AGENT, True))
    return call


def opening(policy: Policy = OPT_OUT) -> Call:
    call = awaiting(policy)
    call.tell(PermitAcknowledged(1))
    return call


def running(policy: Policy = OPT_OUT) -> Call:
    call = opening(policy)
    call.tell(RecorderStarted(1))
    return call
