# SPDX-License-Identifier: GPL-3.0-or-later
"""A caller of bare sockets, for what no softphone does: never to acknowledge, to say nothing, to cancel too late."""

from collections.abc import Mapping
from types import MappingProxyType

from bench.phone import Caller, CallFailed
from bench.sip import Message, parse, response, sdp, token
from bench.wire import now

_NOTHING: Mapping[str, str] = MappingProxyType({})


class BarePhone(Caller):
    """`invite`, then what the test wants. Its `line` is silent on the network until it is started. One call."""

    _cseq = 1
    _via: Mapping[str, str] = _NOTHING

    def invite(self, number: str, *, body: str | None = None, more: Mapping[str, str] = _NOTHING) -> None:
        """Sends the INVITE and nothing else."""
        self._number = number
        self._target = f"sip:{number}@{self._server[0]}:{self._server[1]}"
        self._to = f"<{self._target}>"
        self._via = {"Via": f"SIP/2.0/UDP 127.0.0.1:{self._wire.port};rport;branch=z9hG4bK{token()}"}
        self._request("INVITE", 1, sdp(self.line.port) if body is None else body, more={**more, **self._via})

    def cancel(self) -> None:
        """Takes the INVITE back: the same branch and number (RFC 3261 section 9.1)."""
        self._request("CANCEL", 1, more=self._via)

    def answered(self, within: float = 10) -> Message:
        """The final answer to the INVITE. A refusal is acknowledged, a 200 is not: `ack`."""
        answer = self._answer("INVITE", within)[1]
        self._to = answer.headers["to"]
        if answer.status == 200:
            self._target = answer.headers["contact"].strip("<>").partition(">")[0]
        else:
            self._request("ACK", 1, more=self._via)
        return answer

    def ack(self) -> None:
        """Acknowledges a 200."""
        self._request("ACK", 1)

    def up(self, number: str) -> Message:
        """A call that is up and on which no packet is sent; the 200."""
        self.invite(number)
        answer = self.answered()
        assert answer.status == 200, answer.start
        self.ack()
        return answer

    def request(self, method: str, *, more: Mapping[str, str] = _NOTHING) -> Message:
        """A request inside the call, and its answer."""
        self._cseq += 1
        self._request(method, self._cseq, more=more)
        return self._answer(method, 5)[1]

    def told(self, method: str, within: float = 20) -> Message:
        """The server's request of this kind; all requests until then, and it, are answered with 200."""
        deadline = now() + int(within * 1e9)
        while (left := deadline - now()) > 0 and (datagram := self._wire.receive(left / 1e9)) is not None:
            message = parse(datagram.data)
            if message.status or message.method == "ACK":
                continue
            self._wire.send(response(message, "200 OK", "sip:bench@127.0.0.1", self._tag), self._server)
            if message.method == method:
                return message
        raise CallFailed(f"no {method} from the server within {within:g} s")

    @property
    def dialog(self) -> str:
        """The call, as a Replaces header names it to the server (RFC 3891 section 3)."""
        return f"{self.call_id};to-tag={self._to.partition('tag=')[2]};from-tag={self._tag}"

    def close(self) -> None:
        """No BYE: what is left is the server's to end."""
        self.answered_at = 0
        self.line.close()
        self._wire.close()

    def __exit__(self, *_: object) -> None:
        self.close()
