# SPDX-License-Identifier: GPL-3.0-or-later
"""One call leg, as the event loop uses it. All methods are for the loop's thread; a leg that is gone does nothing."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pjsua2 as pj

from ivr.sip.call import PjCall
from ivr.sip.events import Digit, DigitBy, Down, LegEvent, Listener, MediaChanged
from ivr.sip.inband import InbandPort
from ivr.sip.linger import Linger
from ivr.sip.player import Player

log = logging.getLogger(__name__)


INDICATE_ATTEMPTS, INDICATE_AGAIN_S = 40, 0.25


class LegGone(Exception):
    """The leg was used after it ended, or PJSIP refused the command; the message says which."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """RTP packets of this leg so far. `lost`: of those sent, as the far end reported by RTCP; None before a report.

    `packet_ms`: how much audio each packet that we send holds; the far end chooses (a=ptime, RFC 4566 section 6).
    """

    sent: int
    lost: int | None
    received: int
    packet_ms: int = 20


class Leg:
    """A dialled or answered leg. Owns its pjsua2 call until DISCONNECTED, its players until they are stopped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, linger: Linger, on_down: Callable[["Leg"], None]) -> None:
        self._loop = loop
        self._linger = linger
        self._on_down = on_down
        self._lock = threading.Lock()
        self._call: PjCall | None = None
        self._audio: Any = None
        self._listener: Listener | None = None
        self._context = Context()
        self._early: list[LegEvent] = []
        self._players: set[Player] = set()
        self._playing: set[Player] = set()
        self._taps: list[pj.AudioMedia] = []
        self._peers: set[Leg] = set()
        self._inband: InbandPort | None = None
        self.down: Down | None = None

    # -- wiring, from PJSIP's thread -----------------------------------------------------------------------------

    def adopt(self, call: PjCall) -> None:
        """Takes ownership of the pjsua2 call."""
        self._call = call

    def record_aware(self, aware: bool) -> None:
        """What the caller's INVITE says of it: a peer that knows nothing of recording by SDP is told nothing by SDP."""

        def note(call: PjCall) -> None:
            call.record_aware = aware
            call.record_state = "off" if aware else None

        self._do(note)

    def release(self) -> None:
        """Lets the pjsua2 call go. Called inside its DISCONNECTED callback, on whatever thread that came."""
        with self._lock:
            call, self._call = self._call, None
        if call is not None:
            self._linger.keep(call, call.forget)

    def post(self, event: LegEvent) -> None:
        """Hands an event to the loop, in order."""
        self._loop.call_soon_threadsafe(self._deliver, event)

    # -- events, on the loop -------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Sets who hears this leg's events. Events that came before are delivered first, in order."""
        self._listener = listener
        # PJSIP's thread knows of no call; what its events cause belongs to whoever listens.
        self._context = copy_context()
        early, self._early = self._early, []
        for event in early:
            listener(event)

    def _deliver(self, event: LegEvent) -> None:
        if isinstance(event, Down):
            self.down = event
            self.stop_playing()
            if self._inband is not None:
                self._linger.keep(self._inband)
            self._audio = self._inband = None
            self._taps.clear()
            self._peers.clear()
            self._on_down(self)
        if isinstance(event, MediaChanged):
            self._rewire()
        if self._listener is None:
            self._early.append(event)
        else:
            self._context.run(self._listener, event)

    # -- commands ------------------------------------------------------------------------------------------------

    def _pj(self) -> PjCall:
        call = self._call
        if call is None:
            raise LegGone("the leg has ended")
        return call

    def answer(self) -> None:
        """200 OK. Raises LegGone when the caller cancelled first."""
        prm = pj.CallOpParam()
        prm.statusCode = 200
        self._do(lambda call: call.answer(prm))

    def reject(self, status: int, reason: str = "") -> None:
        """Final refusal with this status. Does nothing when the leg is already gone."""
        prm = pj.CallOpParam()
        prm.statusCode = status
        prm.reason = reason
        try:
            self._do(lambda call: call.hangup(prm))
        except LegGone:
            pass

    def hangup(self) -> None:
        """BYE, CANCEL or a refusal, whatever fits. Does nothing when the leg is already gone."""
        self.reject(0)

    def _do(self, command: Callable[[PjCall], Any]) -> Any:
        call = self._pj()
        try:
            return command(call)
        except pj.Error as error:
            raise LegGone(error.reason) from error
        finally:
            del call  # nothing may outlive the command: see the module call.py

    @property
    def audio(self) -> Any:
        """The leg's port on the conference bridge. Raises LegGone when there is none."""
        if self._audio is None:
            self._audio = self._do(lambda call: call.getAudioMedia(-1))
        return self._audio

    def play(self, path: Path, on_end: Callable[[], None] | None = None, *, loop: bool = False) -> Player:
        """Starts a file towards this leg; `on_end` is called on the loop after its last frame went out."""
        player = self.prepare(path, on_end, loop=loop)
        self.start(player)
        return player

    def prepare(self, path: Path, on_end: Callable[[], None] | None = None, *, loop: bool = False) -> Player:
        """Opens a file without starting it. Raises LegGone when PJMEDIA cannot read it."""

        def ended() -> None:
            if on_end is not None:
                self._loop.call_soon_threadsafe(on_end)

        try:
            player = Player(path, ended, loop=loop)
        except pj.Error as error:
            raise LegGone(f"{path.name}: {error.reason}") from error
        self._players.add(player)
        return player

    def start(self, player: Player) -> None:
        """Connects a prepared player to this leg."""
        try:
            player.startTransmit(self.audio)
        except pj.Error as error:
            raise LegGone(error.reason) from error
        self._playing.add(player)

    def stop(self, player: Player) -> None:
        """Stops a player and lets it go. Harmless when it has ended."""
        if player in self._players:
            self._players.discard(player)
            self._playing.discard(player)
            self._linger.keep(player)
            if self._audio is not None and self._call is not None:
                try:
                    player.stopTransmit(self._audio)
                except pj.Error as error:
                    log.debug("stop of a player: %s", error.reason)

    def stop_playing(self) -> None:
        """Stops everything that plays to this leg."""
        for player in list(self._players):
            self.stop(player)

    def hear_inband(self, rate: int, detect: Callable[[bytes], str]) -> None:
        """Keys in the audio count from now on; `detect` gets frames at `rate` and gives keys. Once a leg."""
        if self._inband is not None:
            return
        try:
            port = InbandPort(rate, detect, lambda key: self.post(Digit(key, DigitBy.INBAND)))
        except pj.Error as error:
            raise LegGone(error.reason) from error
        self.tap(port)
        self._inband = port

    @property
    def hears_inband(self) -> bool:
        """Whether keys in the audio are listened for."""
        return self._inband is not None

    def traffic(self) -> Traffic:
        """RTP so far. Raises LegGone when the leg is gone."""
        stat = self._do(lambda call: call.getStreamStat(_audio_index(call)))
        stream = self._do(lambda call: call.getStreamInfo(_audio_index(call)))
        sent, codec = stat.rtcp.txStat, stream.audCodecParam
        return Traffic(
            sent=int(sent.pkt),
            lost=int(sent.loss) if sent.updateCount else None,
            received=int(stat.rtcp.rxStat.pkt),
            packet_ms=int(codec.info.frameLen) * int(codec.setting.frmPerPkt),
        )

    def send_digit(self, key: str, ms: int = 160) -> None:
        """Sends a key to the far end: RFC 4733, or SIP INFO where telephone-event was not negotiated."""
        prm = pj.CallSendDtmfParam()
        prm.digits = key
        prm.duration = ms
        prm.method = pj.PJSUA_DTMF_METHOD_RFC2833
        try:
            self._do(lambda call: call.sendDtmf(prm))
        except LegGone:
            if self._call is None:
                raise
            prm.method = pj.PJSUA_DTMF_METHOD_SIP_INFO
            self._do(lambda call: call.sendDtmf(prm))

    def indicate(self, state: str) -> None:
        """Tells a record-aware peer by re-INVITE whether it is recorded: on, off or paused (RFC 7866 7.1.2)."""
        call = self._pj()
        if call.record_state is None or call.record_state == state:
            return
        call.record_state = state
        del call
        self._reinvite(attempts=INDICATE_ATTEMPTS)

    def _reinvite(self, attempts: int) -> None:
        """Tries again while another offer of either side is under way (RFC 3261 section 14.1)."""
        try:
            self._do(lambda call: call.reinvite(pj.CallOpParam(True)))
        except LegGone as error:
            if self._call is not None and attempts:
                self._loop.call_later(INDICATE_AGAIN_S, self._reinvite, attempts - 1)
            else:
                log.info("the recording indication did not get through: %s", error)

    def tap(self, sink: pj.AudioMedia) -> None:
        """What this leg says goes to the sink too, until `untap`, across renegotiations."""
        try:
            self.audio.startTransmit(sink)
        except pj.Error as error:
            raise LegGone(error.reason) from error
        self._taps.append(sink)

    def untap(self, sink: pj.AudioMedia) -> None:
        """No more. Harmless when the leg is gone."""
        if sink in self._taps:
            self._taps.remove(sink)
            try:
                self.audio.stopTransmit(sink)
            except (pj.Error, LegGone) as error:
                log.debug("untap: %s", error)

    def bridge(self, other: "Leg") -> None:
        """Both legs hear each other, until `unbridge`, across renegotiations."""
        try:
            self.audio.startTransmit(other.audio)
            other.audio.startTransmit(self.audio)
        except pj.Error as error:
            raise LegGone(error.reason) from error
        self._peers.add(other)
        other._peers.add(self)

    def _rewire(self) -> None:
        """A renegotiated leg may have a new port on the bridge, connected to nothing. Connecting twice is harmless."""
        self._audio = None
        try:
            audio = self.audio
            for player in self._playing:
                player.startTransmit(audio)
            for sink in self._taps:
                audio.startTransmit(sink)
            for peer in self._peers:
                audio.startTransmit(peer.audio)
                peer.audio.startTransmit(audio)
        except (pj.Error, LegGone) as error:
            log.debug("rewire: %s", error)  # on hold there is no port; the next change brings it back

    def unbridge(self, other: "Leg") -> None:
        """They no longer do. Harmless when one of them is gone."""
        self._peers.discard(other)
        other._peers.discard(self)
        for one, two in ((self, other), (other, self)):
            try:
                if one._call is not None and two._call is not None:
                    one.audio.stopTransmit(two.audio)
            except (pj.Error, LegGone) as error:
                log.debug("unbridge: %s", error)


def _audio_index(call: PjCall) -> int:
    info = call.getInfo()
    for index in range(len(info.media)):
        if info.media[index].type == pj.PJMEDIA_TYPE_AUDIO:
            return index
    raise LegGone("the leg has no audio")
