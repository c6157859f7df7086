# SPDX-License-Identifier: GPL-3.0-or-later
"""A flow walked without a telephone: scripted keys in, a timeline out. Consent is decided by the real machine."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ivr.consent.effects import (
    Blocked,
    Decided,
    Effect,
    Permit,
    Say,
    Settled,
    StartRecording,
    StopNotice,
    StopRecording,
    Withdrawn,
)
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
    Left,
    NoticeCompleted,
    NoticeStarted,
    PermitAcknowledged,
    RecorderStarted,
    RecorderStopped,
    Timer,
)
from ivr.consent.machine import expects_recording, is_recording, step
from ivr.consent.policy import KEYS, Mode
from ivr.consent.state import Recording, Standing, initial
from ivr.flow.consent_step import Consent
from ivr.flow.model import Flow, Step
from ivr.flow.place import Place
from ivr.flow.prompts import Prompts
from ivr.flow.verbs import Bridge, Goto, Hangup, Menu, Play, Record, Reference

SILENCE = "-"
_AGENT = "agent-1"
_SAMPLES = 8000  # the length of the pretended notice: any whole one
_MOST_STEPS = 1000  # a menu may go back as often as keys are pressed; the script's words are far fewer


class ScriptError(ValueError):
    """A word of the script that is no key, or words left over."""


class AgentAnswer(StrEnum):
    """What an agent's telephone does when it is rung."""

    ANSWER = "answer"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline. `who`: call, caller, agent or server. `place`: the step that says or does it."""

    who: str
    text: str
    place: Place | None = None

    def __str__(self) -> str:
        where = f"  [{self.place.file.name}:{self.place.line}]" if self.place else ""
        return f"{self.who:<7} {self.text}{where}"

    def as_json(self) -> dict[str, object]:
        place = {"file": str(self.place.file), "line": self.place.line} if self.place else None
        return {"who": self.who, "text": self.text, "place": place}


def simulate(
    flow: Flow, prompts: Prompts, number: str, keys: Sequence[str], agents: Sequence[AgentAnswer] = ()
) -> list[Line]:
    """The timeline of one call to `number`. `keys`: one word a wait (a key, `-`, or `@key` of the agent).

    Raises ScriptError for a word that is no key, or that no wait was left for.
    """
    for word in keys:
        if word != SILENCE and word.removeprefix("@") not in KEYS:
            raise ScriptError(f"{word!r} is not a key: expected one of 0-9 * # A-D, - for silence, @ and a key")
    call = _Call(flow, prompts, deque(keys), deque(agents))
    call.run(number)
    if call.keys:
        raise ScriptError(f"the call was over before {' '.join(call.keys)!r} could be pressed")
    return call.lines


class _Call:
    """One simulated call: the machine's state, what is left of the script, and the timeline so far."""

    def __init__(self, flow: Flow, prompts: Prompts, keys: deque[str], agents: deque[AgentAnswer]) -> None:
        self.flow = flow
        self.prompts = prompts
        self.keys = keys
        self.agents = agents
        self.lines: list[Line] = []
        self.state = initial()
        self.now_ms = 0
        self.place: Place | None = None

    def run(self, number: str) -> None:
        self._note("call", f"to {number}: flow {self.flow.name}")
        self._tell(Answered(frozenset({KeyPath.RFC4733})))
        section, index = self.flow.start, 0
        for _ in range(_MOST_STEPS):
            current = self.flow.sections[section][index]
            self.place = self.flow.place(*self.flow.step_path(section, index), key=True)
            following = self._do(current)
            if isinstance(current, Hangup):
                break
            section, index = (section, index + 1) if following is None else (following, 0)
        self.place = None
        self._note("call", "ends")

    def _do(self, current: Step) -> str | None:
        """Runs a step; the section that it goes to, or None for the next step."""
        match current:
            case Consent():
                self._consent(current)
            case Play():
                self._say(CALLER, self.prompts.prompt(current, self.flow.language).text)
            case Menu():
                return self._menu(current)
            case Bridge():
                return self._bridge(current)
            case Goto():
                return current.section
            case Reference():
                self._message(CALLER, "reference_intro")
                self._note("server", "speaks a reference code, digit by digit")
            case Hangup():
                if current.prompt is not None:
                    self._say(CALLER, self.prompts.prompt(current.prompt, self.flow.language).text)
        return None

    def _consent(self, consent: Consent) -> None:
        notice = self.prompts.notice(consent, self.flow.language)
        self._say(CALLER, notice.text)
        self._tell(Asked(consent.policy()))
        if consent.mode is Mode.NEVER:
            return
        self._tell(NoticeStarted(_SAMPLES))
        self._press(CALLER, self._next_key())
        if self.state.caller is Standing.REFUSED:
            return
        self._tell(NoticeCompleted(_SAMPLES, _SAMPLES))
        if self.state.caller is Standing.DECIDING:
            self._note("server", f"waits {consent.window_after_notice} for a decision")
            self._press(CALLER, self._next_key())
        due = self.state.due(Timer.WINDOW)
        if due is not None:
            self.now_ms = due
            self._tell(Expired(Timer.WINDOW))

    def _menu(self, menu: Menu) -> str:
        for _ in range(menu.retries + 1):
            self._say(CALLER, self.prompts.prompt(menu.prompt, self.flow.language).text)
            key = self._next_key()
            self._press(CALLER, key)
            if key in menu.keys:
                return menu.keys[key]
            if key is not None and menu.invalid is not None:
                self._say(CALLER, self.prompts.prompt(menu.invalid, self.flow.language).text)
        return menu.otherwise

    def _bridge(self, bridge: Bridge) -> str | None:
        answer = AgentAnswer.FAIL
        heard: set[AgentAnswer] = set()
        for target in bridge.targets:
            answer = self.agents.popleft() if self.agents else AgentAnswer.ANSWER
            self._note("server", f"rings {target} for up to {bridge.ring_time}: {answer.replace('_', ' ')}")
            heard.add(answer)
            if answer is AgentAnswer.ANSWER:
                self._joined(bridge)
                return None
        return bridge.section_for(answer if len(heard) == 1 else AgentAnswer.FAIL)

    def _joined(self, bridge: Bridge) -> None:
        recorded = bridge.record is Record.CONSENT and expects_recording(self.state)
        if bridge.tell_agent:
            self._message("agent", "agent_recorded" if recorded else "agent_not_recorded")
        if bridge.record is Record.CONSENT:
            self._tell(Joined(_AGENT))
            self._tell(Informed(_AGENT, recorded))
        self._note("call", f"joined: {'RECORDED' if is_recording(self.state) else 'NOT RECORDED'}")
        word = self.keys.popleft() if self.keys else SILENCE
        if word != SILENCE:
            self._press(_AGENT if word.startswith("@") else CALLER, word.removeprefix("@"))
        self._note("call", "the agent hangs up")
        if bridge.record is Record.CONSENT:
            self._tell(Left(_AGENT, "hangup"))

    def _next_key(self) -> str | None:
        word = self.keys.popleft() if self.keys else SILENCE
        if word.startswith("@"):
            raise ScriptError(f"{word!r}: no agent is in the call yet")
        return None if word == SILENCE else word

    def _press(self, party: str, key: str | None) -> None:
        self._note(_who(party), f"presses {key}" if key is not None else "presses nothing")
        if key is not None and self.state.standing(party) is not None:
            self._tell(Key(party, key))

    def _tell(self, event: Input) -> None:
        """One input to the machine; the recorder and the ledger that answer its effects always succeed here."""
        self.state, effects = step(self.state, event, self.now_ms)
        for effect in effects:
            self._show(effect)
            match effect:
                case Permit(number) if self.state.recording is Recording.AWAITING_PERMIT:
                    self._tell(PermitAcknowledged(number))
                case StartRecording(number):
                    self._tell(RecorderStarted(number))
                case StopRecording(number):
                    self._tell(RecorderStopped(number))

    def _show(self, effect: Effect) -> None:
        match effect:
            case Decided(party, decision, source, key):
                by = f" with key {key}" if key else f" by {source}"
                self._note("server", f"decision of the {_who(party)}: {decision.replace('_', ' ')}{by}")
            case StopNotice():
                self._note("server", "stops the notice")
            case Withdrawn(party, _, key):
                self._note("server", f"withdrawn by the {_who(party)}" + (f" with key {key}" if key else ""))
            case Permit(parties=parties):
                self._note("server", f"permits recording of {' and '.join(map(_who, parties))}")
            case StartRecording():
                self._note("server", "recording starts")
            case StopRecording(erase=erase):
                self._note("server", f"recording stops, and what was recorded is {'erased' if erase else 'kept'}")
            case Blocked(reason):
                self._note("server", f"recording blocked: {reason}")
            case Settled(recordable):
                self._note("server", f"consent step over: {'may be' if recordable else 'will not be'} recorded")
            case Say(party, message):
                self._message(_who(party), message)

    def _message(self, who: str, name: str) -> None:
        self._say(who, self.prompts.message(name, self.flow.language).text)

    def _say(self, who: str, text: str) -> None:
        self._note(who, f"hears: {text}")

    def _note(self, who: str, text: str) -> None:
        self.lines.append(Line(who, text, self.place))


def _who(party: str) -> str:
    return "caller" if party == CALLER else "agent"
