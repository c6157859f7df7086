# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of consent in one call: a standing for every party, the recording's own state, and what is waited for."""

from dataclasses import dataclass, replace
from enum import StrEnum

from ivr.consent.inputs import CALLER, KeyPath, Source, Timer
from ivr.consent.policy import Policy


class Standing(StrEnum):
    """Where one party stands. REFUSED, UNINFORMED, WITHDRAWN and LEFT absorb, save that anybody may leave."""

    UNASKED = "unasked"
    ASKED = "asked"
    LISTENING = "listening"
    ACCEPTED_EARLY = "accepted_early"
    DECIDING = "deciding"
    CLEARED = "cleared"
    REFUSED = "refused"
    UNINFORMED = "uninformed"
    WITHDRAWN = "withdrawn"
    LEFT = "left"


class Recording(StrEnum):
    """Where recording stands. DENIED absorbs: once no is final, nothing in this call is recorded any more."""

    IDLE = "idle"
    AWAITING_PERMIT = "awaiting_permit"
    PERMITTED = "permitted"
    OPENING = "opening"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    DENIED = "denied"


ABSORBING = frozenset({Standing.REFUSED, Standing.UNINFORMED, Standing.WITHDRAWN, Standing.LEFT})

# Every waiting state and the timer that ends it. What expiry means is in machine.py, one place for each timer.
PARTY_WAITS: dict[Standing, Timer] = {
    Standing.ASKED: Timer.NOTICE,
    Standing.LISTENING: Timer.NOTICE,
    Standing.ACCEPTED_EARLY: Timer.NOTICE,
    Standing.DECIDING: Timer.WINDOW,
}
RECORDING_WAITS: dict[Recording, Timer] = {
    Recording.AWAITING_PERMIT: Timer.PERMIT,
    Recording.OPENING: Timer.START,
    Recording.STOPPING: Timer.STOP,
}
STOP_TIMEOUT_MS = 5_000


@dataclass(frozen=True, slots=True)
class State:
    """Everything the machine knows of one call. Built only by `initial` and by the machine."""

    parties: tuple[tuple[str, Standing], ...] = ((CALLER, Standing.UNASKED),)
    recording: Recording = Recording.IDLE
    policy: Policy | None = None
    answered: bool = False
    """Nothing that is played before the 200 counts as a notice: early media may never be heard."""
    key_paths: frozenset[KeyPath] = frozenset()
    objection: Source | None = None
    """Who said `off` before the consent step; judged when the policy is known."""
    notice_total: int = 0
    notice_sent: int = 0
    early_source: Source | None = None
    """How the accept key of ACCEPTED_EARLY was heard."""
    paused_by: frozenset[tuple[str, str]] = frozenset()
    """(party, why) for every reason not to keep samples just now."""
    number: int = 0
    """Permits asked for so far; the newest has this number."""
    permit_parties: tuple[str, ...] = ()
    opened: int = 0
    """The newest permit for which a recorder was opened; 0 when none ever was."""
    reason: str = ""
    """Why the notice or the recording came to nothing, for the log."""
    deadlines: tuple[tuple[Timer, int], ...] = ()

    def standing(self, party: str) -> Standing | None:
        """The party's standing, or None for a party that never joined."""
        return dict(self.parties).get(party)

    def with_standing(self, party: str, standing: Standing) -> "State":
        """This state with one party's standing set; the order of joining is kept."""
        parties = dict(self.parties)
        parties[party] = standing
        return replace(self, parties=tuple(parties.items()))

    @property
    def caller(self) -> Standing:
        """The caller's standing."""
        return dict(self.parties)[CALLER]

    @property
    def present(self) -> tuple[str, ...]:
        """Parties whose leg is up, caller first."""
        return tuple(party for party, standing in self.parties if standing is not Standing.LEFT)

    def due(self, timer: Timer) -> int | None:
        """When this wait ends, in the machine's ms, or None when it is not waited for."""
        return dict(self.deadlines).get(timer)

    @property
    def final(self) -> bool:
        """No is final: nothing of this call is recorded from here on, whoever comes or goes."""
        return self.recording is Recording.DENIED or (self.recording is Recording.STOPPING and self.reason != "")

    @property
    def closed(self) -> bool:
        """The caller is gone and no recorder is open: nothing can change any more."""
        return self.caller is Standing.LEFT and self.recording in (Recording.IDLE, Recording.DENIED)


def initial() -> State:
    """A call that was just received."""
    return State()
