# SPDX-License-Identifier: GPL-3.0-or-later
"""What the consent machine wants done. `Decided`, `Withdrawn`, `Permit` and `Blocked` are decisions and are logged."""

from dataclasses import dataclass
from enum import StrEnum

from ivr.consent.inputs import Source, Timer


class Decision(StrEnum):
    """What a party's answer amounts to. `not_objected` is silence after an opt-out notice: implied, never consent."""

    GRANTED = "granted"
    REFUSED = "refused"
    NOT_OBJECTED = "not_objected"
    NOT_GIVEN = "not_given"
    INFORMED = "informed"


class Message(StrEnum):
    """Standard messages a party may have to hear; texts are in prompts/<lang>/messages.yaml."""

    NOT_RECORDED = "not_recorded"
    RECORDED_THANKS = "recorded_thanks"
    RECORDING_STOPPED = "recording_stopped"
    RECORDING_STOPPED_ERASED = "recording_stopped_erased"
    AGENT_RECORDING_STOPPED = "agent_recording_stopped"
    AGENT_NOT_RECORDED = "agent_not_recorded"


@dataclass(frozen=True, slots=True)
class Decided:
    """A party's decision."""

    party: str
    decision: Decision
    source: Source
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A party took back what it had given or not objected to."""

    party: str
    source: Source
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Permit:
    """Ask the ledger to make this permit durable. The only way to a recorder."""

    number: int
    parties: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """No recording, for a reason that is nobody's refusal."""

    reason: str


@dataclass(frozen=True, slots=True)
class StartRecording:
    """Open the recorder with the acknowledged permit."""

    number: int


@dataclass(frozen=True, slots=True)
class PauseRecording:
    """Keep no sample from now on, but keep the recording open."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class ResumeRecording:
    """Keep samples again under the same permit: the same parties are cleared."""

    number: int


@dataclass(frozen=True, slots=True)
class StopRecording:
    """Close the recorder now. `erase`: nothing of it is kept."""

    number: int
    reason: str
    erase: bool = False


@dataclass(frozen=True, slots=True)
class EraseRecording:
    """Destroy the key and the files of an earlier recording of this call, if there is one with this number."""

    number: int


@dataclass(frozen=True, slots=True)
class StopNotice:
    """Stop the notice at once, or do not begin it: nothing that it would say is true any more."""


@dataclass(frozen=True, slots=True)
class Say:
    """Tell a party something aloud."""

    party: str
    message: Message


@dataclass(frozen=True, slots=True)
class Settled:
    """The consent step is over and the flow goes on, recorded or not."""

    recordable: bool


@dataclass(frozen=True, slots=True)
class Arm:
    """Send `Expired(timer)` when the machine's clock shows `due_ms`. Replaces what was armed for this timer."""

    timer: Timer
    due_ms: int


@dataclass(frozen=True, slots=True)
class Disarm:
    """Nobody waits for this timer any more."""

    timer: Timer


Effect = (
    Decided
    | Withdrawn
    | Permit
    | Blocked
    | StartRecording
    | PauseRecording
    | ResumeRecording
    | StopRecording
    | EraseRecording
    | StopNotice
    | Say
    | Settled
    | Arm
    | Disarm
)

LoggedDecision = Decided | Withdrawn | Permit | Blocked
