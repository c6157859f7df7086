# SPDX-License-Identifier: GPL-3.0-or-later
"""What a leg reports, as plain frozen values. Nothing of pjsua2 lives in them."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ivr.sip.quality import Quality


class DigitBy(StrEnum):
    """How a key was heard."""

    RFC4733 = "dtmf"
    INFO = "info"
    INBAND = "inband"


@dataclass(frozen=True, slots=True)
class Invite:
    """What the first INVITE of a leg said. `preference` is its a=recordpref (RFC 7866 section 7.3.2) or None."""

    sip_call_id: str
    caller: str
    dialled: str
    source: str
    record_aware: bool
    preference: str | None
    allows_info: bool
    edge: str = ""
    """The id that the edge gave the call (X-Assent-Id), or empty."""


@dataclass(frozen=True, slots=True)
class Ringing:
    """180 or 183 from the far end of a leg that we dialled."""

    status: int


@dataclass(frozen=True, slots=True)
class Up:
    """Answered, acknowledged, media negotiated and sendable."""

    codec: str
    rate: int
    telephone_event: bool
    record_aware: bool


@dataclass(frozen=True, slots=True)
class MediaChanged:
    """A later offer or answer took effect. `held`: the far end does not want to hear us."""

    held: bool
    telephone_event: bool


@dataclass(frozen=True, slots=True)
class PreferenceChanged:
    """A later offer carried a=recordpref."""

    preference: str


@dataclass(frozen=True, slots=True)
class Digit:
    """A key, on its first packet."""

    key: str
    by: DigitBy


@dataclass(frozen=True, slots=True)
class Down:
    """The leg is gone. `status` is the last SIP status; `quality` is None when it had no audio."""

    status: int
    reason: str
    quality: Quality | None = None


LegEvent = Ringing | Up | MediaChanged | PreferenceChanged | Digit | Down
Listener = Callable[[LegEvent], None]
