# SPDX-License-Identifier: GPL-3.0-or-later
"""The pjsua2 call: its callbacks copy plain values into events and return. No policy, no blocking, nothing raised.

Runs on PJSIP's threads and, for what a command causes, on the loop's. After DISCONNECTED the call is kept a little
longer, for a thread that has found it and waits for the interpreter: the ACK of a refusal comes at the same moment.
Then it is destroyed without an id, because ~Call() hangs up whatever call holds its id by then.
"""

import ctypes
import logging
from collections.abc import Callable
from typing import Any

import pjsua2 as pj

from ivr.sip import sdp
from ivr.sip.events import Digit, DigitBy, Down, LegEvent, MediaChanged, PreferenceChanged, Ringing, Up
from ivr.sip.quality import Quality, stream_quality

log = logging.getLogger(__name__)

Post = Callable[[LegEvent], None]

_ID_AT = 16
"""Where pj::Call has its id, after the table of virtual functions and the account; looked at before it is relied on."""


class PjCall(pj.Call):
    """One leg as pjsua2 sees it. `post` hands an event to the event loop; `release` lets the last reference go."""

    def __init__(self, account: pj.Account, call_id: int, post: Post, release: Callable[[], None]) -> None:
        super().__init__(account, call_id)
        self._post = post
        self._release = release
        self._up = False
        self._confirmed = False
        self._quality: Quality | None = None
        self._media: tuple[str, int, bool, bool] | None = None
        self.record_aware = False
        self.record_state: str | None = None
        """What our SDP says of recording (a=record), or None to say nothing: the peer is not record-aware."""

    # -- state ---------------------------------------------------------------------------------------------------

    def onCallState(self, prm: Any) -> None:  # noqa: ARG002
        """INVITE session state changed."""
        try:
            info = self.getInfo()
            state, status, reason = info.state, info.lastStatusCode, info.lastReason
            if state == pj.PJSIP_INV_STATE_EARLY and info.role == pj.PJSIP_ROLE_UAC:
                self._post(Ringing(status))
            elif state == pj.PJSIP_INV_STATE_CONFIRMED:
                self._confirmed = True
                self._maybe_up()
            elif state == pj.PJSIP_INV_STATE_DISCONNECTED:
                self._post(Down(status, reason, self._quality))
                self._let_go()
        except Exception:
            log.exception("call state callback")

    def forget(self) -> None:
        """Takes its id away, for good. Nothing may be asked of it afterwards: PJSIP aborts at a call without an id."""
        place = self._place_of_id()
        if place is None:
            log.error("pj::Call is not laid out as it was: destroying it may hang up another call")
        else:
            place.value = pj.PJSUA_INVALID_ID

    def _place_of_id(self) -> ctypes.c_int | None:
        place = ctypes.c_int.from_address(int(self.this) + _ID_AT)
        return place if place.value == self.getId() else None

    def _let_go(self) -> None:
        release, self._release, self._post = self._release, lambda: None, lambda _event: None
        release()

    def onCallTsxState(self, prm: Any) -> None:
        """An INFO may be a key; a response to our INVITE tells whether the far end is record-aware."""
        try:
            state = prm.e.body.tsxState
            if state.type != pj.PJSIP_EVENT_RX_MSG:
                return
            message = state.src.rdata.wholeMsg
            if message.startswith("INFO ") and (key := sdp.info_key(message)):
                self._post(Digit(key, DigitBy.INFO))
            elif not self._up and message.startswith("SIP/2.0 2"):
                self.record_aware = self.record_aware or sdp.record_aware(message)
        except Exception:
            log.exception("transaction callback")

    # -- media ---------------------------------------------------------------------------------------------------

    def onCallMediaState(self, prm: Any) -> None:  # noqa: ARG002
        """Negotiation took effect: the first makes the leg usable, later ones may be hold or a change."""
        try:
            media = self._read_media()
            self._media = media
            if not self._up:
                self._maybe_up()
            elif media is not None:
                # The same terms again are still a re-INVITE: whoever plays a notice must know.
                self._post(MediaChanged(held=media[3], telephone_event=media[2]))
        except Exception:
            log.exception("media callback")

    def _read_media(self) -> tuple[str, int, bool, bool] | None:
        info = self.getInfo()  # kept in a variable: media of a temporary is freed memory
        for index in range(len(info.media)):
            media = info.media[index]
            if media.type != pj.PJMEDIA_TYPE_AUDIO or media.status == pj.PJSUA_CALL_MEDIA_NONE:
                continue
            held = media.status != pj.PJSUA_CALL_MEDIA_ACTIVE
            try:
                stream = self.getStreamInfo(index)
            except pj.Error:
                # a=inactive: no stream runs. On a leg that had one this is hold; on a new leg there is no media yet.
                return None if self._media is None else (*self._media[:3], True)
            return stream.codecName, int(stream.codecClockRate), int(stream.audRxEventPt) > 0, held
        return None

    def onStreamDestroyed(self, prm: Any) -> None:
        """The last moment at which a stream's counters can be read: at DISCONNECTED it is gone."""
        try:
            quality = stream_quality(self, prm.streamIdx)
            if quality is not None:
                self._quality = quality if self._quality is None else self._quality + quality
        except Exception:
            log.exception("stream callback")

    def _maybe_up(self) -> None:
        if self._up or not self._confirmed or self._media is None:
            return
        self._up = True
        codec, rate, event, held = self._media
        self._post(Up(codec, rate, event, self.record_aware))
        if held:
            self._post(MediaChanged(held=True, telephone_event=event))

    def onCallRxOffer(self, prm: Any) -> None:
        """A later offer: only its recording preference is of interest, PJSIP negotiates the rest."""
        try:
            wish = sdp.record_preference(prm.offer.wholeSdp)
            if wish is not None:
                self._post(PreferenceChanged(wish))
        except Exception:
            log.exception("offer callback")

    def onCallSdpCreated(self, prm: Any) -> None:
        """Every offer and answer of ours carries the recording indication for a peer that understands it."""
        try:
            if self.record_state is not None:
                prm.sdp.wholeSdp = sdp.with_record_attribute(prm.sdp.wholeSdp, self.record_state)
        except Exception:
            log.exception("SDP callback")

    # -- what is not done ------------------------------------------------------------------------------------------

    def onCallTransferRequest(self, prm: Any) -> None:
        """REFER is declined: PJSIP's default would dial whatever a caller names, and a permit names its parties."""
        prm.statusCode = pj.PJSIP_SC_DECLINE

    def onCallReplaceRequest(self, prm: Any) -> None:
        """INVITE with Replaces is declined for the same reason."""
        prm.statusCode = pj.PJSIP_SC_DECLINE

    # -- keys ----------------------------------------------------------------------------------------------------

    def onDtmfDigit(self, prm: Any) -> None:
        """Fires on the first packet of an RFC 4733 event. Also for INFO, of which PJSIP reads one form only, and
        10 as 1: see onCallTsxState."""
        try:
            key = str(prm.digit)[:1].upper()
            if prm.method != pj.PJSUA_DTMF_METHOD_SIP_INFO and key and key in "0123456789*#ABCD":
                self._post(Digit(key, DigitBy.RFC4733))
        except Exception:
            log.exception("digit callback")
