# SPDX-License-Identifier: GPL-3.0-or-later
"""What the consent machine is told. Facts, past tense, frozen; `party` is caller, agent-1, agent-2, …"""

from dataclasses import dataclass, field
from enum import StrEnum

from ivr.consent.policy import Policy

CALLER = "caller"


class KeyPath(StrEnum):
    """A way in which a keypress could be heard on a leg."""

    RFC4733 = "rfc4733"
    INFO = "info"
    INBAND = "inband"


class Source(StrEnum):
    """By what means a party, or an operator for it, said something about recording."""

    DTMF = "dtmf"
    INFO = "info"
    INBAND = "inband"
    RECORDPREF = "sip:recordpref"
    OPERATOR = "operator"
    SILENCE = "silence"
    NOTICE = "notice"


class Preference(StrEnum):
    """RFC 7866 section 7.3.2; `off` is also what an operator's objection is written as."""

    OFF = "off"
    PAUSE = "pause"
    NONE = "nopreference"
    ON = "on"


class Timer(StrEnum):
    """The waits of the machine. Every one of them ends."""

    NOTICE = "notice"
    WINDOW = "window"
    PERMIT = "permit"
    START = "start"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Answered:
    """The caller's leg is answered and its media is up."""

    key_paths: frozenset[KeyPath] = frozenset()


@dataclass(frozen=True, slots=True)
class Asked:
    """The flow reached its consent step."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class NoticeStarted:
    """The first sample was handed to the leg. `samples` is the whole length of the notice."""

    samples: int


@dataclass(frozen=True, slots=True)
class NoticeCompleted:
    """The last sample was sent on the active leg."""

    samples_sent: int
    samples_total: int


@dataclass(frozen=True, slots=True)
class NoticeInterrupted:
    """The notice stopped early: key, held, renegotiated, hangup, short, …"""

    reason: str


@dataclass(frozen=True, slots=True)
class NoticeFailed:
    """The notice could not be played at all."""

    reason: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key, on its first packet."""

    party: str
    key: str
    source: Source = Source.DTMF


@dataclass(frozen=True, slots=True)
class Preferred:
    """A recording preference by SDP (RFC 7866) or by the operator, on behalf of a party."""

    party: str
    preference: Preference
    source: Source = Source.RECORDPREF


@dataclass(frozen=True, slots=True)
class Held:
    """The far end of this leg put it on hold."""

    party: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The far end of this leg took it off hold."""

    party: str


@dataclass(frozen=True, slots=True)
class Renegotiated:
    """A re-INVITE or UPDATE changed the media of this leg without hold; `key_paths` are those left on it."""

    party: str
    key_paths: frozenset[KeyPath] = frozenset()


@dataclass(frozen=True, slots=True)
class Joined:
    """Another party's leg is up. It counts as uncleared until it is informed."""

    party: str


@dataclass(frozen=True, slots=True)
class Informed:
    """The party heard to the last sample that the call is (`recorded`) or is not recorded."""

    party: str
    recorded: bool


@dataclass(frozen=True, slots=True)
class NotInformed:
    """The party did not hear it to the end."""

    party: str
    reason: str


@dataclass(frozen=True, slots=True)
class Left:
    """A party's leg is gone. When the caller's is, the call is over."""

    party: str
    reason: str


@dataclass(frozen=True, slots=True)
class PermitAcknowledged:
    """The permit with this number is durable and signed."""

    number: int


@dataclass(frozen=True, slots=True)
class RecorderStarted:
    """The recorder of this permit has its file open and saw first samples."""

    number: int


@dataclass(frozen=True, slots=True)
class RecorderFailed:
    """The recorder of this permit broke: disk, encoder, evidence."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecorderStopped:
    """The recorder of this permit is closed; not a sample is kept from here on."""

    number: int


@dataclass(frozen=True, slots=True)
class LedgerLost:
    """The ledger cannot be reached or refused a permit, so nothing that happens now could be proven."""

    reason: str = field(default="ledger")


@dataclass(frozen=True, slots=True)
class Faulted:
    """What the server knows of this call contradicts itself. Nobody's wish: nothing is recorded, nothing erased."""

    reason: str = "internal"


@dataclass(frozen=True, slots=True)
class Expired:
    """A wait ended. Ignored when the machine is not waiting for it, or when it is not yet due."""

    timer: Timer


Input = (
    Answered
    | Asked
    | NoticeStarted
    | NoticeCompleted
    | NoticeInterrupted
    | NoticeFailed
    | Key
    | Preferred
    | Held
    | Resumed
    | Renegotiated
    | Joined
    | Informed
    | NotInformed
    | Left
    | PermitAcknowledged
    | RecorderStarted
    | RecorderFailed
    | RecorderStopped
    | LedgerLost
    | Faulted
    | Expired
)
