# SPDX-License-Identifier: GPL-3.0-or-later
"""What ivr.calls uses of ivr.sip, without SIP: legs that answer or do not, a bridge that ticks every 20 ms, and ears.

A leg writes down what its party hears. A recorder's samples are the time at which they were heard (10 ms
units, 16 bits), so a test can read from the decrypted audio when it was recorded.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ivr.sip.events import Digit, DigitBy, Down, Invite, LegEvent, Listener, MediaChanged, Ringing, Up
from ivr.sip.leg import LegGone, Traffic
from ivr.sip.recorder import RecorderError
from media.audio import read

TICK_S = 0.02
TICKS_A_SECOND = 100
RATE = 8_000
FLUSH = 2_048


@dataclass
class Behaviour:
    """How one target takes a call."""

    answer_s: float | None = 1.0
    status: int = 200
    telephone_event: bool = True
    hangs_up_at_s: float | None = None
    cannot_dial: bool = False
    on_hold: bool = False


@dataclass(eq=False)
class FakePlayer:
    """One file on its way to a leg."""

    path: Path
    samples: int
    on_end: Callable[[], None] | None
    loop: bool
    began: float | None = None
    ended: asyncio.TimerHandle | None = None
    heard: "Heard | None" = None

    def getPos(self) -> int:
        return self.samples


@dataclass
class Heard:
    """Something that a party heard. `whole` is None for what has no end of its own (tones, the other party)."""

    what: str
    whole: bool | None = None

    def __str__(self) -> str:
        return self.what + (" (cut)" if self.whole is False else "")


class FakeLeg:
    """Structurally an ivr.sip.leg.Leg."""

    def __init__(self, stage: "FakeEndpoint", name: str, behaviour: Behaviour) -> None:
        self._stage = stage
        self._loop = asyncio.get_running_loop()
        self.name = name
        self.behaviour = behaviour
        self.down: Down | None = None
        self.down_at: float | None = None
        self.up_at: float | None = None
        self._silent_since: float | None = None
        self._silent_s = 0.0
        self._listener: Listener | None = None
        self._early: list[LegEvent] = []
        self._players: set[FakePlayer] = set()
        self.rejected: int | None = None
        self.heard: list[Heard] = []
        self.indicated: list[str] = []
        self.record_aware = False
        self.silent_from: float | None = None
        """From when on no RTP comes from this phone, as after a crash."""
        self._inband = False

    # -- what the far end does -----------------------------------------------------------------------------------

    def deliver(self, event: LegEvent) -> None:
        """As the real leg does it: state first, then whoever listens."""
        if self.down is not None:
            return
        if isinstance(event, Up):
            self.up_at = self._loop.time()
        if isinstance(event, MediaChanged):
            self.silence(event.held)
        if isinstance(event, Down):
            self.down, self.down_at = event, self._loop.time()
            for player in list(self._players):
                self.stop(player)
            self._stage.legs.discard(self)
        if self._listener is None:
            self._early.append(event)
        else:
            self._listener(event)

    def silence(self, held: bool) -> None:
        """Nothing is sent to this leg from now on, or it is again."""
        if held and self._silent_since is None:
            self._silent_since = self._loop.time()
        elif not held and self._silent_since is not None:
            self._silent_s += self._loop.time() - self._silent_since
            self._silent_since = None

    def press(self, key: str, by: DigitBy = DigitBy.RFC4733) -> None:
        self.deliver(Digit(key, by))

    def later(self, delay: float, event: LegEvent) -> None:
        self._loop.call_later(delay, self.deliver, event)

    # -- what ivr.calls uses -------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        self._listener = listener
        early, self._early = self._early, []
        for event in early:
            listener(event)

    def _alive(self) -> None:
        if self.down is not None:
            raise LegGone("the leg has ended")

    def answer(self) -> None:
        self._alive()
        self.later(TICK_S, Up("PCMA", RATE, self.behaviour.telephone_event, self.record_aware))

    def reject(self, status: int, reason: str = "") -> None:
        if self.down is None:
            self.rejected = status
            self.later(0.005, Down(status, reason))

    def hangup(self) -> None:
        if self.down is None:
            self.later(0.005, Down(200 if self.up_at is not None else 487, ""))

    def play(self, path: Path, on_end: Callable[[], None] | None = None, *, loop: bool = False) -> FakePlayer:
        player = self.prepare(path, on_end, loop=loop)
        self.start(player)
        return player

    def prepare(self, path: Path, on_end: Callable[[], None] | None = None, *, loop: bool = False) -> FakePlayer:
        player = FakePlayer(path, len(read(path).samples), on_end, loop)
        self._players.add(player)
        return player

    def start(self, player: FakePlayer) -> None:
        self._alive()
        if self.up_at is None:
            raise LegGone("no media yet")
        player.began = self._loop.time()
        player.heard = Heard(self._stage.labels.get(player.path, player.path.name), None if player.loop else False)
        self.heard.append(player.heard)
        if not player.loop:
            ticks = math.ceil(player.samples * TICKS_A_SECOND / 2 / RATE) - 1
            at = self.up_at + (self._ticks(self._loop.time()) + ticks + 1) * TICK_S
            player.ended = self._loop.call_at(at, self._end, player)

    def _end(self, player: FakePlayer) -> None:
        if player.heard is not None and self._silent_since is None:
            player.heard.whole = True
        if player.on_end is not None:
            player.on_end()

    def _ticks(self, until: float) -> int:
        silent = self._silent_s + (until - self._silent_since if self._silent_since is not None else 0.0)
        return int((until - (self.up_at or 0.0) - silent) / TICK_S + 1e-6)

    def stop(self, player: FakePlayer) -> None:
        self._players.discard(player)
        if player.ended is not None:
            player.ended.cancel()

    def traffic(self) -> Traffic:
        self._alive()
        until = self._loop.time() if self.silent_from is None else self.silent_from
        return Traffic(self._ticks(self._loop.time()), None, self._ticks(until))

    @property
    def hears_inband(self) -> bool:
        return self._inband

    def hear_inband(self, rate: int, detect: Callable[[bytes], str]) -> None:
        self._inband = True

    def send_digit(self, key: str, ms: int = 160) -> None:
        self._alive()
        self.heard.append(Heard(f"key {key}"))

    def indicate(self, state: str) -> None:
        self._alive()
        self.indicated.append(state)

    def bridge(self, other: "FakeLeg") -> None:
        self._alive()
        other._alive()
        self.heard.append(Heard(other.name))
        other.heard.append(Heard(self.name))

    def unbridge(self, other: "FakeLeg") -> None:
        pass


class FakeEndpoint:
    """Structurally an ivr.sip.endpoint.Endpoint. `targets` by the user part of their address."""

    def __init__(self, settings: object, on_incoming: Callable[[FakeLeg, Invite], None]) -> None:
        self._on_incoming = on_incoming
        self.targets: dict[str, Behaviour] = {}
        self.labels: dict[Path, str] = {}
        self.legs: set[FakeLeg] = set()
        self.dialled: list[FakeLeg] = []
        self.on_dial: Callable[[str], None] = lambda _target: None
        self.callers: list[FakeLeg] = []

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def ticks(self) -> int:
        return 0

    def incoming(self, behaviour: Behaviour, **invite: object) -> FakeLeg:
        """A caller rings."""
        leg = FakeLeg(self, "caller", behaviour)
        self.legs.add(leg)
        self.callers.append(leg)
        first: dict[str, object] = {
            "sip_call_id": f"call-{len(self.callers)}@test",
            "caller": '"Eve" <sip:+49301234567@192.0.2.7>',
            "dialled": "100",
            "source": "192.0.2.7:5060",
            "record_aware": False,
            "preference": None,
            "allows_info": False,
        }
        self._on_incoming(leg, Invite(**{**first, **invite}))  # type: ignore[arg-type]
        return leg

    def dial(self, uri: str, **_: object) -> FakeLeg:
        user = uri.removeprefix("sip:").partition("@")[0]
        behaviour = self.targets.get(user, Behaviour())
        self.on_dial(user)
        if behaviour.cannot_dial:
            raise LegGone(f"{uri}: no route")
        leg = FakeLeg(self, f"agent-{len(self.dialled) + 1}", behaviour)
        self.legs.add(leg)
        self.dialled.append(leg)
        leg.later(TICK_S, Ringing(180))
        if behaviour.answer_s is not None and behaviour.status == 200:
            leg.later(behaviour.answer_s, Up("PCMU", RATE, behaviour.telephone_event, False))
            if behaviour.on_hold:
                leg.later(behaviour.answer_s, MediaChanged(True, behaviour.telephone_event))
        elif behaviour.answer_s is not None:
            leg.later(behaviour.answer_s, Down(behaviour.status, "no"))
        return leg


@dataclass
class Recorders:
    """What the scenario's recorders do."""

    cannot_open: bool = False
    no_samples: bool = False
    opened: list["FakePartyRecorder"] = field(default_factory=list)

    def __call__(self, name: str) -> "FakePartyRecorder":
        if self.cannot_open:
            raise RecorderError("PJMEDIA cannot open a recorder in memory")
        recorder = FakePartyRecorder(self)
        self.opened.append(recorder)
        return recorder


class FakePartyRecorder:
    """Structurally an ivr.sip.recorder.PartyRecorder."""

    def __init__(self, recorders: Recorders) -> None:
        self._recorders = recorders
        self._loop = asyncio.get_running_loop()
        self._leg: FakeLeg | None = None
        self._from = 0.0
        self._closed_at: float | None = None
        self.taken = 0
        self.freed = False

    def connect(self, leg: FakeLeg) -> None:
        self._leg = leg
        self._from = math.ceil(self._loop.time() / TICK_S + 1e-6) * TICK_S

    def position(self) -> int:
        if self._leg is None or self._recorders.no_samples:
            return 0
        ends = [t for t in (self._loop.time(), self._leg.down_at, self._closed_at) if t is not None]
        return max(0, int((min(ends) - self._from) / TICK_S + 1e-6)) * (RATE * 2 // TICKS_A_SECOND)

    @property
    def flushed(self) -> int:
        gone = self._closed_at is not None and self._loop.time() >= self._closed_at
        written = self.position() if gone else self.position() // FLUSH * FLUSH
        return max(0, written - self.taken)

    def read(self, limit: int | None = None) -> np.ndarray:
        count = self.flushed if limit is None else min(limit, self.flushed)
        times = self._from + np.arange(self.taken, self.taken + count) / RATE
        self.taken += count
        return (times * TICKS_A_SECOND).astype(np.uint16).view(np.int16)

    def disconnect(self) -> None:
        pass

    def close(self) -> None:
        if self._closed_at is None:
            # The bridge lets go of it a few ticks later; what it still writes then is not to be kept.
            self._closed_at = self._loop.time() + 3 * TICK_S

    def free(self) -> None:
        self.close()
        self.freed = True
