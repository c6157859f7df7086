# SPDX-License-Identifier: GPL-3.0-or-later
"""A softphone: one PJSIP endpoint, its calls, and how it treats calls that come in. One in a process."""

import asyncio
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pjsua2 as pj

from demo.ear import Emit
from demo.phonecall import PhoneCall
from demo.voice import Voice, sine

_LINGER_S = 1.0


@dataclass(slots=True)
class Habits:
    """What happens to an incoming call: `action` is answer, ring or reject; `early` sends 183 with audio first."""

    action: str = "answer"
    after_ms: int = 0
    code: int = 486
    early: bool = False
    ringing: bool = True
    sdp: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    hangup_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Voicing:
    """What it says: a tone, a WAV file, or nothing."""

    tone: float | None = None
    dbfs: float = -12.0
    play: Path | None = None


class _Account(pj.Account):
    def __init__(self, phone: "Softphone") -> None:
        super().__init__()
        self._phone = phone

    def onIncomingCall(self, prm: Any) -> None:
        """The call object must be made here; later is too late."""
        self._phone.incoming(prm.callId, prm.rdata.wholeMsg)


class Softphone:
    """`start`, then commands on the event loop's thread."""

    def __init__(self, name: str, emit: Emit, voicing: Voicing, codecs: list[str], rate: int = 8000) -> None:
        self._name = name
        self._emit = emit
        self._voicing = voicing
        self._codecs = codecs
        self.rate = rate
        self.telephone_event = True
        self.record: Path | None = None
        self.habits = Habits()
        self._loop = asyncio.get_running_loop()
        self._endpoint = pj.Endpoint()
        self._account: _Account | None = None
        self._calls: dict[int, PhoneCall] = {}
        self._count = 0
        self._clock = False
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pjsip")

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self, port: int) -> int:
        """Listens on 127.0.0.1. Returns the port."""
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.userAgent = f"softphone {self._name}"
        config.logConfig.level = config.logConfig.consoleLevel = 0
        media = config.medConfig
        media.clockRate = media.sndClockRate = self.rate
        media.noVad, media.hasIoqueue, media.threadCnt, media.ecTailLen = True, False, 0, 0
        media.sndAutoCloseTime = -1
        self._endpoint.libCreate()
        self._endpoint.libInit(config)
        transport = pj.TransportConfig()
        transport.port, transport.boundAddress = port, "127.0.0.1"
        number = self._endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
        self._endpoint.transportCreate(pj.PJSIP_TRANSPORT_TCP, transport)
        self._endpoint.audDevManager().setNoDev()
        self._endpoint.libStart()
        self._choose_codecs()
        port = int(self._endpoint.transportGetInfo(number).localName.rpartition(":")[2])
        self._make_account(port)
        self._running.set()
        self._thread.start()
        return port

    def _make_account(self, port: int) -> None:
        config = pj.AccountConfig()
        config.idUri = f"sip:{self._name}@127.0.0.1:{port}"
        media = config.mediaConfig.transportConfig
        media.boundAddress = media.publicAddress = "127.0.0.1"
        # Far from each other, so that no phone hears what was sent to a port that another one had before.
        media.port, media.portRange = 20_000 + 2 * secrets.randbelow(6000), 200
        self._account = _Account(self)
        self._account.create(config, True)

    def _choose_codecs(self) -> None:
        names = [codec.codecId for codec in self._endpoint.codecEnum2()]
        for name in names:
            self._endpoint.codecSetPriority(name, 0)
        for place, wanted in enumerate(self._codecs):
            name = next((name for name in names if name.split("/")[0].upper() == wanted.upper()), None)
            if name is None:
                raise ValueError(f"codec {wanted} is not in this build of PJSIP; it has {', '.join(names)}")
            self._endpoint.codecSetPriority(name, 250 - place)

    def _run(self) -> None:
        self._endpoint.libRegisterThread("pjsip")
        while self._running.is_set():
            self._endpoint.libHandleEvents(200)

    async def stop(self) -> None:
        """Hangs up what is left and waits for it. The process must end by `os._exit`: libDestroy takes a second."""
        self.end_all()
        for _ in range(100):
            if not self._calls:
                break
            await asyncio.sleep(0.02)
        self._running.clear()
        self._thread.join(timeout=5)

    # -- for the calls -------------------------------------------------------------------------------------------

    def later(self, action: Callable[[], None], seconds: float = 0) -> None:
        """Runs something on the main thread; a call that is gone by then is not an error."""

        def run() -> None:
            try:
                action()
            except pj.Error as error:
                self._emit("note", text=f"too late: {error.reason}")

        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, run)

    def voice(self) -> Voice | None:
        """A new voice for one call."""
        if self._voicing.play is not None:
            return Voice(self._voicing.play, self.rate, loop=True)
        if self._voicing.tone is not None:
            return Voice(sine(self._voicing.tone, 1, self.rate, self._voicing.dbfs), self.rate, loop=True)
        return None

    def release(self, call: PhoneCall) -> None:
        """The call has ended: called in its last callback, so that nothing of it lives on."""
        self._calls.pop(call.number, None)
        ports = call.free()
        self._loop.call_soon_threadsafe(self._loop.call_later, _LINGER_S, ports.clear)
        self._loop.call_soon_threadsafe(self._unwind_clock)

    def _wind_clock(self) -> None:
        if not self._clock:
            self._clock = True
            self._endpoint.audDevManager().setNullDev()

    def _unwind_clock(self) -> None:
        if self._clock and not self._calls:
            self._clock = False
            self._endpoint.audDevManager().setNoDev()

    # -- calls ---------------------------------------------------------------------------------------------------

    def call(self, uri: str, headers: dict[str, str], sdp: list[str]) -> None:
        """Dials."""
        self._wind_clock()
        self._count += 1
        call = PhoneCall(self._identity(), self, self._count, self._emit)
        call.sdp_lines = sdp
        self._calls[call.number] = call
        prm = pj.CallOpParam(True)
        add_headers(prm, headers)
        call.say("calling", uri=uri)
        try:
            call.makeCall(uri, prm)
        except pj.Error as error:
            self._calls.pop(call.number, None)
            call.say("disconnected", code=0, reason=error.reason)

    def _identity(self) -> pj.Account:
        if self._account is None:
            raise RuntimeError("the softphone has not been started")
        return self._account

    def get(self, number: int | None) -> PhoneCall:
        """A live call by its number, or the newest. KeyError when there is none."""
        return self._calls[max(self._calls, default=0) if number is None else number]

    def has(self, number: int | None) -> bool:
        """Whether that call, or any, is live."""
        return bool(self._calls) if number is None else number in self._calls

    def end_all(self) -> None:
        """Hangs up every call."""
        for number in list(self._calls):
            self._end(number)

    def incoming(self, call_id: int, message: str) -> None:
        """On PJSIP's thread."""
        self._count += 1
        call = PhoneCall(self._identity(), self, self._count, self._emit, call_id)
        call.sdp_lines = list(self.habits.sdp)
        self._calls[call.number] = call
        head, _, body = message.partition("\r\n\r\n")
        lines = [line.partition(":") for line in head.split("\r\n")[1:]]
        headers = {name.strip(): value.strip() for name, _, value in lines}
        call.say("incoming", sender=headers.get("From", ""), to=headers.get("To", ""), headers=headers, head=head)
        call.say("sdp", of="invite", text=body)
        number, habits = call.number, self.habits
        del call
        self.later(lambda: self._treat(number, habits))

    def _treat(self, number: int, habits: Habits) -> None:
        if number not in self._calls:
            return
        self._wind_clock()
        if habits.action == "reject":
            self.later(lambda: self._respond(number, habits.code, habits.headers), habits.after_ms / 1000)
            return
        if habits.early:
            self._respond(number, 183, habits.headers)
        elif habits.ringing and (habits.after_ms or habits.action == "ring"):
            self._respond(number, 180, habits.headers)
        if habits.action == "answer":
            self.later(lambda: self._respond(number, 200, habits.headers), habits.after_ms / 1000)
            if habits.hangup_after_ms is not None:
                self.later(lambda: self._end(number), (habits.after_ms + habits.hangup_after_ms) / 1000)

    def _respond(self, number: int, code: int, headers: dict[str, str]) -> None:
        if number in self._calls:
            prm = pj.CallOpParam()
            prm.statusCode = code
            add_headers(prm, headers)
            self._calls[number].answer(prm)

    def _end(self, number: int) -> None:
        if number in self._calls:
            self._calls[number].end()


def add_headers(prm: Any, headers: dict[str, str]) -> None:
    """Puts extra SIP headers on the message to send."""
    for name, value in headers.items():
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        prm.txOption.headers.push_back(header)
