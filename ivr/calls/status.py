# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call is doing and whether it is recorded, for people who look on. Ids and words of ours, nothing personal."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ivr.consent.permit import may_record
from ivr.consent.state import Recording, Standing, State

if TYPE_CHECKING:
    from ivr.calls.session import Session


class CallState(StrEnum):
    """What a call is doing."""

    RINGING = "ringing"
    """Taken; no answer sent, or not acknowledged yet."""
    NOTICE = "notice"
    """The caller hears the notice."""
    DECIDING = "deciding"
    """The notice is over and the caller's answer is waited for."""
    FLOW = "flow"
    """Another step of the flow: a prompt, a menu."""
    DIALLING = "dialling"
    """An agent's telephone rings, or the agent is told whether the call is recorded."""
    BRIDGED = "bridged"
    """The parties hear each other."""
    HELD = "held"
    """They are connected, and one of them put the other on hold."""
    ENDING = "ending"
    """The caller has left; recorder and legs are being closed."""


class Recorded(StrEnum):
    """Whether a call is being recorded."""

    YES = "yes"
    STARTING = "starting"
    """Permitted or about to be; no sample is kept yet."""
    PAUSED = "paused"
    STOPPING = "stopping"
    NO = "no"


_RECORDED = {
    Recording.RUNNING: Recorded.YES,
    Recording.AWAITING_PERMIT: Recorded.STARTING,
    Recording.PERMITTED: Recorded.STARTING,
    Recording.OPENING: Recorded.STARTING,
    Recording.PAUSED: Recorded.PAUSED,
    Recording.STOPPING: Recorded.STOPPING,
}
_HEARS_NOTICE = (Standing.ASKED, Standing.LISTENING, Standing.ACCEPTED_EARLY)


@dataclass(frozen=True, slots=True)
class CallStatus:
    """`since`: when it was received, in seconds since 1970. `parties`: who is recorded. `reason`: why, or why not."""

    call: str
    edge: str
    flow: str
    state: CallState
    recorded: Recorded
    parties: tuple[str, ...]
    reason: str
    since: float

    def as_json(self) -> dict[str, Any]:
        """As it goes over a socket."""
        return asdict(self)


def status(session: "Session") -> CallStatus:
    """How the call stands now. Cheap: it is asked twice a second."""
    state = session.driver.state
    recorded = _RECORDED.get(state.recording, Recorded.NO)
    return CallStatus(
        session.call,
        session.trace.edge,
        session.flow.name,
        _doing(session, state),
        recorded,
        state.permit_parties if recorded is Recorded.YES else (),
        _why(state),
        session.since,
    )


def _doing(session: "Session", state: State) -> CallState:
    agent = session.agent
    if state.caller is Standing.LEFT:
        return CallState.ENDING
    if not state.answered:
        return CallState.RINGING
    if session.bridged:
        held = session.caller.held or (agent is not None and agent.held)
        return CallState.HELD if held else CallState.BRIDGED
    if state.caller in _HEARS_NOTICE:
        return CallState.NOTICE
    if state.caller is Standing.DECIDING:
        return CallState.DECIDING
    if agent is not None and agent.leg.down is None:
        return CallState.DIALLING
    return CallState.FLOW


def _why(state: State) -> str:
    verdict = may_record(state)
    final = state.recording in (Recording.DENIED, Recording.STOPPING)
    return (state.reason if final and state.reason else verdict.reason).lower()
