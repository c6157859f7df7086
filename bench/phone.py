# SPDX-License-Identifier: GPL-3.0-or-later
"""A caller and an agent made of bare sockets: what they time is the wire, not a softphone."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Self

from bench.rtp import SILENCE, Line, Voice
from bench.sip import Message, assemble, parse, response, sdp, token
from bench.wire import Address, Wire, now


class CallFailed(AssertionError):
    """The server did not answer as a call needs; the message says what it did."""


class Caller:
    """One call: `Caller(server).dial("100")`, `line`, `hangup()`. Times are those of wire.now()."""

    def __init__(self, server: Address, voice: Voice = lambda _n: SILENCE) -> None:
        self._server = server
        self._wire = Wire()
        self.call_id, self._tag = token(), token()
        self._number = ""
        self._to = ""
        self._target = ""
        self._routes: dict[str, str] = {}
        self.line = Line(voice)
        self.invited_at = 0
        self.answered_at = 0

    def dial(self, number: str, within: float = 5) -> Self:
        """Returns once the call is up and media flows. Raises CallFailed."""
        self._number = number
        self._target = f"sip:{number}@{self._server[0]}:{self._server[1]}"
        self._to = f"<{self._target}>"
        self.invited_at = self._request("INVITE", 1, sdp(self.line.port))
        at, answer = self._answer("INVITE", within)
        if answer.status != 200:
            raise CallFailed(f"{number}: {answer.start}")
        self.answered_at = at
        self._to = answer.headers["to"]
        self._target = answer.headers["contact"].strip("<>").partition(">")[0]
        if routes := answer.headers.get("record-route"):
            self._routes = {"Route": ", ".join(reversed(routes.split(", ")))}
        self._request("ACK", 1, more=self._routes)
        self.line.start(answer.media)
        return self

    def _request(
        self, method: str, number: int, body: str = "", *, more: Mapping[str, str] = MappingProxyType({})
    ) -> int:
        here = f"127.0.0.1:{self._wire.port}"
        headers = {
            "Via": f"SIP/2.0/UDP {here};rport;branch=z9hG4bK{token()}",
            "Max-Forwards": "70",
            "From": f"<sip:bench@{here}>;tag={self._tag}",
            "To": self._to,
            "Call-ID": self.call_id,
            "CSeq": f"{number} {method}",
            "Contact": f"<sip:bench@{here}>",
            **more,
        }
        return self._wire.send(assemble(f"{method} {self._target} SIP/2.0", headers, body), self._server)

    def _messages(self, within: float) -> Iterator[tuple[int, Message]]:
        """What comes in, and when; each request is answered with 200 at once."""
        deadline = now() + int(within * 1e9)
        while (left := deadline - now()) > 0:
            datagram = self._wire.receive(left / 1e9)
            if datagram is None:
                return
            message = parse(datagram.data)
            if not message.status and message.method != "ACK":
                self._wire.send(response(message, "200 OK", "sip:bench@127.0.0.1", self._tag), self._server)
            yield datagram.at, message

    def _answer(self, method: str, within: float) -> tuple[int, Message]:
        for at, message in self._messages(within):
            if message.method == method and message.status >= 200:
                return at, message
        raise CallFailed(f"no answer to {method} of {self._number} within {within:g} s")

    def wait_bye(self, within: float) -> int:
        """When the server's BYE came. Raises CallFailed."""
        for at, message in self._messages(within):
            if not message.status and message.method == "BYE":
                return at
        raise CallFailed(f"no BYE within {within:g} s")

    def close(self) -> None:
        """Lets everything go without a word."""
        self.line.close()
        self._wire.close()

    def hangup(self) -> None:
        """BYE, and its answer."""
        try:
            self._request("BYE", 2, more=self._routes)
            self._answer("BYE", 3)
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.answered_at:
            self.hangup()


@dataclass(slots=True)
class Rung:
    """A call that the agent got. `line` sends and receives from the answer on."""

    at: int
    call_id: str
    line: Line
    up: threading.Event


class Agent:
    """Answers every call at once. One thread; ends with `close`."""

    def __init__(self, voice: Voice = lambda _n: SILENCE) -> None:
        self._wire = Wire()
        self._voice = voice
        self._running = True
        self._changed = threading.Condition()
        self._rung: list[Rung] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def uri(self) -> str:
        return f"sip:agent@127.0.0.1:{self._wire.port}"

    @property
    def count(self) -> int:
        """Calls so far."""
        return len(self._rung)

    def wait(self, number: int, within: float) -> Rung:
        """The call of this number, from 0. Raises CallFailed."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._rung) > number, within):
                raise CallFailed(f"the agent was not rung within {within:g} s")
            return self._rung[number]

    def _run(self) -> None:
        while self._running:
            datagram = self._wire.receive(0.2)
            if datagram is None:
                continue
            message = parse(datagram.data)
            if message.status:
                continue
            if message.method == "INVITE":
                self._invited(datagram.at, message, datagram.sender)
            elif message.method == "ACK":
                for rung in self._rung:
                    if rung.call_id == message.call_id:
                        rung.up.set()
            else:
                self._ended(message, datagram.sender)

    def _invited(self, at: int, message: Message, sender: Address) -> None:
        rung = next((rung for rung in self._rung if rung.call_id == message.call_id), None)
        if rung is None:
            rung = Rung(at, message.call_id, Line(self._voice), threading.Event())
            with self._changed:
                self._rung.append(rung)
                self._changed.notify_all()
            rung.line.start(message.media)
        self._wire.send(response(message, "200 OK", self.uri, "agent", sdp(rung.line.port)), sender)

    def _ended(self, message: Message, sender: Address) -> None:
        self._wire.send(response(message, "200 OK", self.uri, "agent"), sender)
        if message.method == "BYE":
            for rung in self._rung:
                if rung.call_id == message.call_id:
                    rung.line.close()

    def close(self) -> None:
        self._running = False
        self._thread.join(timeout=2)
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
