# SPDX-License-Identifier: GPL-3.0-or-later
"""The PJSIP user agent of a worker process: transports, codecs, the audio clock, legs in and out.

One thread runs SIP (`libHandleEvents`), one all media (`MediaClock`); commands come from the event loop's thread. The
media clock runs only while a leg is up, so an idle worker sleeps.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pjsua2 as pj

from ivr.sip import sdp
from ivr.sip.call import PjCall
from ivr.sip.events import Invite
from ivr.sip.leg import Leg, LegGone
from ivr.sip.library import library
from ivr.sip.linger import Linger
from ivr.sip.mediaclock import MediaClock

log = logging.getLogger(__name__)


BROKEN = 500
"""What a caller is told whose call breaks something of ours (RFC 3261 section 21.5.1)."""
CLOCK_LINGER_S = 1.0

TURN_MS = 500
"""PJSIP's thread turns at least so often: that it does is how a worker that hangs is told from one that is idle."""


class EndpointError(Exception):
    """PJSIP could not start: the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What the user agent needs. Addresses are IPv4 literals; ports 0 mean any free one (tests)."""

    address: str = "127.0.0.1"
    port: int = 5060
    udp: bool = True
    tcp: bool = False
    media_address: str = "127.0.0.1"
    public_address: str = ""
    rtp_port: int = 16_000
    rtp_range: int = 200
    codecs: tuple[str, ...] = ("PCMU", "PCMA", "G722")
    rate: int = 8_000
    user_agent: str = "Assent"
    log_level: int = 1
    proxy: str = ""
    """Where every request goes first, such as `sip:127.0.0.1:5062;lr`: the edge. Empty for straight to its target."""
    patience_ms: int = 11_000
    """How long PJSIP waits for an ACK of our 200, and for an answer to a request of ours. Whoever sends neither holds
    one of the few legs for twice that. RFC 3261 has 32 s (64*T1, section 17); a session gives its caller up sooner."""
    domain: str = ""
    """Host, with its port if need be, of our own address as others see it. Empty for what we listen on."""


OnIncoming = Callable[[Leg, Invite], None]


def max_legs() -> int:
    """How many legs this build of PJSIP can carry, read from the library itself (PJSUA_MAX_CALLS)."""
    return int(library().pjsua_call_get_max_count())


class _Log(pj.LogWriter):
    """PJSIP's own lines go where ours go: by default it prints to stdout, which is for data."""

    def write(self, entry: Any) -> None:
        """One line. What it calls errors comes as an exception too; nobody could act on the line."""
        log.log(logging.CRITICAL if entry.level == 0 else logging.DEBUG, "PJSIP: %s", entry.msg.strip())


class _Account(pj.Account):
    def __init__(self, endpoint: "Endpoint") -> None:
        super().__init__()
        self._endpoint = endpoint

    def onIncomingCall(self, prm: Any) -> None:
        """The call object must be made here; later is too late and PJSIP rejects the call."""
        try:
            self._endpoint._incoming(prm.callId, prm.rdata.wholeMsg, prm.rdata.srcAddress)
        except Exception:
            log.exception("incoming call callback")


class Endpoint:
    """One per process. `start` and `stop` on the loop's thread."""

    def __init__(self, settings: EndpointSettings, on_incoming: OnIncoming) -> None:
        self._settings = settings
        self._on_incoming = on_incoming
        self._loop = asyncio.get_running_loop()
        self._ep = pj.Endpoint()
        self._account: _Account | None = None
        self._thread: threading.Thread | None = None
        self._running = threading.Event()
        self._turned = time.monotonic()
        self._legs: set[Leg] = set()
        self._media: MediaClock | None = None
        self._linger = Linger(self._loop)
        self.port = settings.port

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listens. Raises EndpointError when the address or the port cannot be had."""
        s = self._settings
        library().pj_log_set_level(s.log_level)  # before libCreate, which talks before it is told not to
        try:
            self._ep.libCreate()
            self._ep.libInit(self._config())
            kinds = [(pj.PJSIP_TRANSPORT_UDP, s.udp), (pj.PJSIP_TRANSPORT_TCP, s.tcp)]
            transports = [self._transport(kind) for kind, wanted in kinds if wanted]
            self._ep.audDevManager().setNoDev()
            self._ep.libStart()
            # After libStart, with zeros for the timers of retransmission: those stay as they are.
            library().pjsip_tsx_set_timers(0, 0, 0, s.patience_ms)
            self._set_codecs()
            self._media = MediaClock(library(), s.rate, lambda: self._ep.libRegisterThread("media"))
            self._account = self._make_account(transports[0])
        except pj.Error as error:
            raise EndpointError(
                f"SIP on {s.address}:{s.port} cannot start: {error.reason}; is another program using that port?"
            ) from error
        self._running.set()
        self._turned = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="pjsip", daemon=True)
        self._thread.start()

    def _config(self) -> Any:
        s = self._settings
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.maxCalls = 32  # cut by the library to what it can do: max_legs()
        config.uaConfig.userAgent = s.user_agent
        config.logConfig.level = s.log_level
        config.logConfig.consoleLevel = s.log_level
        config.logConfig.decor = 0
        writer = _Log()
        config.logConfig.writer = writer.__disown__()  # the endpoint deletes it
        media = config.medConfig
        media.clockRate = s.rate
        media.sndClockRate = s.rate
        media.noVad = True
        media.hasIoqueue = True  # polled by MediaClock
        media.threadCnt = 0
        media.ecTailLen = 0
        media.maxMediaPorts = 64
        media.sndAutoCloseTime = -1
        return config

    def _transport(self, kind: int) -> int:
        s = self._settings
        config = pj.TransportConfig()
        config.port = self.port
        config.boundAddress = s.address
        if s.public_address and not s.proxy:
            config.publicAddress = s.public_address
        number: int = self._ep.transportCreate(kind, config)
        if not self.port:
            self.port = int(self._ep.transportGetInfo(number).localName.rpartition(":")[2])
        return number

    def _make_account(self, transport: int) -> _Account:
        s = self._settings
        config = pj.AccountConfig()
        config.idUri = self._identity()
        config.sipConfig.transportId = transport
        if s.proxy:
            config.sipConfig.proxies.append(s.proxy)
        config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_OPTIONAL
        media = config.mediaConfig.transportConfig
        media.boundAddress = s.media_address
        media.publicAddress = s.public_address or s.media_address
        media.port = s.rtp_port
        media.portRange = s.rtp_range
        account = _Account(self)
        account.create(config, True)
        return account

    def _set_codecs(self) -> None:
        known = {codec.codecId: codec for codec in self._ep.codecEnum2()}
        for name in known:
            self._ep.codecSetPriority(name, 0)
        for place, wanted in enumerate(self._settings.codecs):
            matches = [name for name in known if name.split("/")[0].upper() == wanted.upper()]
            if not matches:
                raise EndpointError(f"codec {wanted} is not in this build of PJSIP; it has {', '.join(sorted(known))}")
            self._ep.codecSetPriority(matches[0], 250 - place)

    def _run(self) -> None:
        """PJSIP's thread. A long wait costs nothing: packets and timers end it at once."""
        self._ep.libRegisterThread("pjsip")
        while self._running.is_set():
            self._ep.libHandleEvents(TURN_MS)
            self._turned = time.monotonic()

    def stalled_s(self) -> float:
        """How long PJSIP's thread is overdue, or the media thread while it should tick, in seconds."""
        if self._thread is None:
            return 0.0
        sip = time.monotonic() - self._turned - TURN_MS / 1000
        return max(0.0, sip, self._media.stalled_s() if self._media is not None else 0.0)

    def stop(self) -> None:
        """Hangs up what is left and closes. Call after the sessions have ended."""
        if self._thread is None:
            return
        for leg in list(self._legs):
            leg.hangup()
        self._running.clear()
        self._thread.join(timeout=5)
        self._thread = None
        if self._media is not None:
            self._media.close()
            self._media = None
        self._linger.clear()
        self._account = None
        self._ep.libDestroy()

    def ticks(self) -> int:
        """As MediaClock.ticks: what was read of two ports is of one moment when this was even and is the same after."""
        return self._media.ticks() if self._media is not None else 0

    # -- legs ----------------------------------------------------------------------------------------------------

    def _incoming(self, call_id: int, message: str, source: str) -> None:
        """On PJSIP's thread. Whatever breaks, the caller is told and the call's place is free again."""
        leg = Leg(self._loop, self._linger, self._gone)
        if self._account is None:
            return
        leg.adopt(PjCall(self._account, call_id, leg.post, leg.release))
        try:
            invite = self._read(leg, sdp.readable(message), source)
        except Exception:
            log.exception("an INVITE that cannot be read")
            leg.reject(BROKEN)
            return
        self._loop.call_soon_threadsafe(self._arrived, leg, invite)

    def _read(self, leg: Leg, message: str, source: str) -> Invite:
        record_aware = sdp.record_aware(message)
        leg.record_aware(record_aware)
        return Invite(
            sip_call_id=sdp.header(message, "Call-ID") or sdp.header(message, "i") or "",
            caller=sdp.header(message, "From") or sdp.header(message, "f") or "",
            dialled=sdp.request_user(message),
            source=source,
            record_aware=record_aware,
            preference=sdp.record_preference(sdp.body(message)),
            allows_info="info" in sdp.tokens(message, "Allow"),
            edge=sdp.edge_id(message) if self._settings.proxy else "",
        )

    def _arrived(self, leg: Leg, invite: Invite) -> None:
        self._legs.add(leg)
        self._wind_clock()
        try:
            self._on_incoming(leg, invite)
        except Exception:
            log.exception("a call that cannot be taken")
            leg.reject(BROKEN)

    def dial(self, uri: str, *, display: str = "", headers: dict[str, str] | None = None) -> Leg:
        """A new outbound leg; its progress comes as events. Raises LegGone when it cannot even be started."""
        if self._account is None:
            raise LegGone("the user agent is not running")
        leg = Leg(self._loop, self._linger, self._gone)
        call = PjCall(self._account, pj.PJSUA_INVALID_ID, leg.post, leg.release)
        call.record_state = "off"
        leg.adopt(call)
        prm = pj.CallOpParam(True)
        for name, value in {"Supported": "record-aware", **(headers or {})}.items():
            extra = pj.SipHeader()
            extra.hName, extra.hValue = name, value
            prm.txOption.headers.push_back(extra)
        if display and all(sign not in '"\\<>\r\n' for sign in display):
            prm.txOption.localUri = f'"{display}" <{self._identity()}>'
        self._legs.add(leg)
        self._wind_clock()
        try:
            call.makeCall(uri, prm)
        except pj.Error as error:
            leg.release()
            self._gone(leg)
            raise LegGone(f"the agent's leg cannot be started: {error.reason}") from error
        finally:
            del call
        return leg

    def _identity(self) -> str:
        s = self._settings
        return f"sip:assent@{s.domain or f'{s.public_address or s.address}:{self.port}'}"

    def _gone(self, leg: Leg) -> None:
        self._legs.discard(leg)
        if not self._legs:
            # Later, because a closed recorder is flushed at the clock's next tick.
            self._loop.call_later(CLOCK_LINGER_S, self._stop_clock)

    def _stop_clock(self) -> None:
        if not self._legs and self._media is not None:
            self._media.stop()

    def _wind_clock(self) -> None:
        if self._media is not None:
            self._media.start()

    @property
    def legs(self) -> int:
        """Legs that are up or coming up."""
        return len(self._legs)
