# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of a softphone: its callbacks say what happened, its commands do what a person would do.

Callbacks run on PJSIP's thread, commands on the main thread. At DISCONNECTED the owner lets go of the call inside the
callback: ~Call() hangs up whatever call holds the id by then.
"""

import ctypes
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakMethod

import pjsua2 as pj

from demo.ear import Ear, Emit
from demo.voice import Samples, Voice, key_tones, stop
from ivr.sip.library import library

_ENCODING = 1
_BODY = "\r\n\r\n"


class Owner(Protocol):
    """What a call needs of its softphone."""

    telephone_event: bool
    rate: int
    record: Path | None

    def release(self, call: "PhoneCall") -> None: ...
    def voice(self) -> Voice | None: ...
    def later(self, action: Callable[[], None], seconds: float = 0) -> None: ...


class PhoneCall(pj.Call):
    """A leg. `number` counts the calls of this softphone; every event of the call carries it."""

    def __init__(self, account: pj.Account, owner: Owner, number: int, emit: Emit, call_id: int = -1) -> None:
        super().__init__(account, call_id)
        self._owner = owner
        self.number = number
        self.say: Emit = partial(emit, call=number)
        self.sdp_lines: list[str] = []
        self._audio: Any = None
        self._ear: Ear | None = None
        self._voice: Voice | None = None
        self._keys: list[Voice] = []
        self._stream: int | None = None
        self._muted = False
        self._stats: dict[str, int] = {}

    # -- what happens --------------------------------------------------------------------------------------------

    def onCallState(self, prm: Any) -> None:  # noqa: ARG002
        """INVITE session state changed."""
        info = self.getInfo()
        state, status, reason = info.state, info.lastStatusCode, info.lastReason
        if state == pj.PJSIP_INV_STATE_EARLY and info.role == pj.PJSIP_ROLE_UAC:
            self.say("ringing", code=status)
        elif state == pj.PJSIP_INV_STATE_CONFIRMED:
            self.say("confirmed")
        elif state == pj.PJSIP_INV_STATE_DISCONNECTED:
            if self._ear is not None:
                self._ear.close()
            heard = self._ear.heard_ms if self._ear is not None else 0
            self.say("stats", heard_ms=heard, **self._stats)
            self.say("disconnected", code=status, reason=reason)
            self._owner.release(self)

    def onCallTsxState(self, prm: Any) -> None:
        """Shows the SDP of answers to our offers as it arrived."""
        state = prm.e.body.tsxState
        if state.type == pj.PJSIP_EVENT_RX_MSG:
            head, _, body = state.src.rdata.wholeMsg.partition(_BODY)
            if body and head.startswith("SIP/2.0"):
                self.say("sdp", of="answer", text=body, head=head)

    def onCallRxOffer(self, prm: Any) -> None:
        """A re-INVITE or UPDATE of the far end."""
        self.say("sdp", of="offer", text=prm.offer.wholeSdp)

    def onCallSdpCreated(self, prm: Any) -> None:
        """Adds our lines and takes telephone-event out where the phone is to have none."""
        text = prm.sdp.wholeSdp
        edited = text if self._owner.telephone_event else without_telephone_event(text)
        prm.sdp.wholeSdp = with_lines(edited, self.sdp_lines)

    def onStreamCreated(self, prm: Any) -> None:
        """Keeps the C stream for `mute`."""
        self._stream = int(prm.stream)
        if self._muted:
            self._pause(True)

    def onStreamDestroyed(self, prm: Any) -> None:  # noqa: ARG002
        """Reads the counters of the stream for the last time."""
        self._stream = None
        try:
            rtcp = self.getStreamStat(0).rtcp
            for name, count in (("rx", rtcp.rxStat.pkt), ("tx", rtcp.txStat.pkt), ("rx_lost", rtcp.rxStat.loss)):
                self._stats[name] = self._stats.get(name, 0) + int(count)
        except pj.Error as error:
            self.say("note", text=f"no counters: {error.reason}")

    def onCallMediaState(self, prm: Any) -> None:  # noqa: ARG002
        """Connects mouth and ear once the stream runs."""
        info = self.getInfo()  # kept: media of a temporary is freed memory
        for index in range(len(info.media)):
            media = info.media[index]
            if media.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            status, direction = media.status, media.dir
            fields: dict[str, object] = {"held": status != pj.PJSUA_CALL_MEDIA_ACTIVE, "dir": direction}
            if status != pj.PJSUA_CALL_MEDIA_NONE:
                stream = self.getStreamInfo(index)
                fields |= {"codec": stream.codecName, "telephone_event": stream.audTxEventPt}
            self.say("media", **fields)
            if status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                self._owner.later(weakly(self._connect))
            return

    def _connect(self) -> None:
        if self._ear is None:
            self._ear = Ear(f"ear-{self.number}", self._owner.rate, self.say, self._owner.record)
            self._voice = self._owner.voice()
        try:
            self._audio = self.getAudioMedia(-1)
            self._audio.startTransmit(self._ear)
            if self._voice is not None:
                self._voice.startTransmit(self._audio)
        except pj.Error as error:
            self.say("note", text=f"no audio: {error.reason}")

    def onDtmfDigit(self, prm: Any) -> None:
        """A key, on its first packet."""
        by = "info" if prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO else "rfc4733"
        self.say("digit", key=str(prm.digit), by=by)

    # -- what a person does --------------------------------------------------------------------------------------

    def dtmf(self, keys: str, method: str = "rfc4733", ms: int = 100, gap_ms: int = 60) -> None:
        """Presses keys; `dtmf_sent` says when the last one has been handed over."""
        if method == "inband":
            self._play_keys(key_tones(keys, ms, gap_ms, self._owner.rate), keys)
            return
        prm = pj.CallSendDtmfParam()
        prm.digits, prm.duration = keys, ms
        prm.method = pj.PJSUA_DTMF_METHOD_SIP_INFO if method == "info" else pj.PJSUA_DTMF_METHOD_RFC2833
        self.say("dtmf_sent", keys=keys, by=method)
        self.sendDtmf(prm)

    def _play_keys(self, tones: Samples, keys: str) -> None:
        """As sound, in place of the voice: a telephone cuts the microphone while it dials."""
        owner, again = self._owner, weakly(self._speak_again)
        if self._voice is not None:
            stop(self._voice, self._audio)
        player = Voice(tones, owner.rate, loop=False, on_end=lambda: owner.later(again, 0.1))
        self._keys.append(player)
        self.say("dtmf_sent", keys=keys, by="inband")
        player.startTransmit(self._audio)

    def _speak_again(self) -> None:
        if self._voice is not None and self._audio is not None:
            self._voice.startTransmit(self._audio)

    def listen(self, ms: int) -> None:
        """Says `listened` with what the coming `ms` sound like."""
        ear, say = self._ear, self.say
        if ear is None:
            raise KeyError("the call has no audio yet")
        place = ear.place
        self._owner.later(lambda: say("listened", **ear.since(place)), ms / 1000)

    def hold(self) -> None:
        """re-INVITE with a=sendonly."""
        self.setHold(pj.CallOpParam(True))

    def unhold(self) -> None:
        """re-INVITE with a=sendrecv."""
        prm = pj.CallOpParam(True)
        prm.opt.flag = pj.PJSUA_CALL_UNHOLD
        self.reinvite(prm)

    def offer(self, lines: list[str] | None = None) -> None:
        """re-INVITE on the same terms, with other SDP lines where given."""
        if lines is not None:
            self.sdp_lines = lines
        self.reinvite(pj.CallOpParam(True))

    def mute(self, on: bool) -> None:
        """Sends no RTP at all, or again."""
        self._muted = on
        self._pause(on)

    def _pause(self, on: bool) -> None:
        if self._stream is None:
            return
        lib = library()
        (lib.pjmedia_stream_pause if on else lib.pjmedia_stream_resume)(ctypes.c_void_p(self._stream), _ENCODING)

    def end(self, code: int = 0) -> None:
        """BYE, CANCEL or a refusal with this code."""
        prm = pj.CallOpParam()
        prm.statusCode = code
        self.hangup(prm)

    def free(self) -> list[object]:
        """Lets the ports go. They must live on for a moment: the audio clock may be inside one of them just now."""
        ports: list[object] = [self._ear, self._voice, *self._keys]
        self._audio = self._ear = self._voice = None
        self._keys.clear()
        return ports


def weakly(method: Callable[[], None]) -> Callable[[], None]:
    """The method, as long as the call lives: a callback that waits must not keep a call that has ended."""
    reference = WeakMethod(method)

    def run() -> None:
        if (alive := reference()) is not None:
            alive()

    return run


_DIRECTIONS = ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")


def with_lines(sdp: str, lines: list[str]) -> str:
    """The SDP with these lines at its end, as attributes of its last media; a direction replaces the one there."""
    kept = sdp.rstrip("\r\n").split("\r\n")
    if any(line in _DIRECTIONS for line in lines):
        kept = [line for line in kept if line not in _DIRECTIONS]
    return "\r\n".join([*kept, *lines, ""])


def without_telephone_event(sdp: str) -> str:
    """The SDP of a phone that knows no telephone-event."""
    for number in re.findall(r"^a=rtpmap:(\d+) telephone-event/.*$", sdp, re.MULTILINE):
        sdp = re.sub(rf"^a=(rtpmap|fmtp):{number} .*\r?\n", "", sdp, flags=re.MULTILINE)
        sdp = re.sub(rf"^(m=audio .*?) {number}\b", r"\1", sdp, flags=re.MULTILINE)
    return sdp
