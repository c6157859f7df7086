# SPDX-License-Identifier: GPL-3.0-or-later
"""A command's side of the ledger: one request, one durable answer, no event loop. Signs for the person who asks."""

import socket as sockets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr.ledger.canonical import Json
from ivr.ledger.errors import LedgerRefused, LedgerUnavailable
from ivr.ledger.ids import uuid7
from ivr.ledger.people import sign_message
from ivr.ledger.personal import Field, Match
from ivr.ledger.protocol import CLOSED, FATAL, VERSION, Ack, ProtocolError, Unpacker, closed, pack

ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class Signer:
    """The person in whose name a command asks."""

    name: str
    key: Ed25519PrivateKey


class LedgerTool:
    """A connection with the role `tool`. A context manager; nothing is ever sent twice."""

    def __init__(self, socket: Path, name: str, signer: Signer | None = None, *, log: str | None = None) -> None:
        """Raises LedgerUnavailable; also when the ledger is not that of `log`: sockets of other nodes are forwarded
        by hand, and a wrong one would be told to erase by the sequence numbers of another log."""
        self._signer = signer
        self._unpacker = Unpacker()
        self._next = 0
        self._line = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        self._line.settimeout(ANSWER_S)
        try:
            self._line.connect(str(socket))
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have refused already, and has said why
                self._send({"op": "hello", "v": VERSION, "worker": name, "role": "tool", "live": []})
            welcome = self._receive()
        except (OSError, ProtocolError) as error:
            self._line.close()
            raise LedgerUnavailable(
                f"the ledger does not answer at {socket} ({closed(error)}): is the server running? Nothing was done"
            ) from None
        if welcome["op"] == "refused":
            self._line.close()
            raise LedgerUnavailable(f"the ledger at {socket} refuses: {welcome['message']}. Nothing was done")
        origin = welcome.get("log")
        if log is not None and origin != log:
            self._line.close()
            raise LedgerUnavailable(f"at {socket} is the ledger of {origin}, not that of {log}: nothing was done")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._line.close()

    def append(
        self,
        type: str,
        *,
        call: str | None = None,
        data: Mapping[str, Json],
        personal: Mapping[str, Json] | None = None,
    ) -> Ack:
        """An event; durable when this returns. Raises LedgerRefused, LedgerUnavailable."""
        return self._ack(self._ask(_event("append", type, call, data, personal)))

    def erase(
        self,
        type: str,
        fields: Sequence[Field],
        *,
        data: Mapping[str, Json],
        personal: Mapping[str, Json] | None = None,
        subject: str | int | None = None,
    ) -> Ack:
        """An event that erases personal fields; both are durable when this returns. The event says what went."""
        message = _event("erase", type, None, data, personal)
        message |= {"fields": [list(one) for one in fields], "subject": subject}
        return self._ack(self._ask(message))

    def find(self, by: str, value: str) -> list[Match]:
        """The events that a `number`, a `reference` or a `request` (its place) names.

        Raises LedgerRefused, LedgerUnavailable.
        """
        answer = self._ask({"op": "find", "id": uuid7(), "by": by, "value": value})
        found = list(answer["events"])
        while answer.get("more"):
            answer = self._answer()
            found += answer["events"]
        return [Match(int(seq), str(name), call, str(kind)) for seq, name, call, kind in found]

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self._next += 1
        if self._signer is not None:
            sign_message(message, self._signer.name, self._signer.key)
        try:
            self._send(message | {"n": self._next})
        except (OSError, ProtocolError) as error:
            raise LedgerUnavailable(f"the ledger cannot be asked ({error}); nothing was done") from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            answer = self._receive()
        except (OSError, ProtocolError) as error:
            raise LedgerUnavailable(f"no answer from the ledger ({error}); the log shows whether it was done") from None
        if answer["op"] == "refused":
            if answer["code"] == FATAL:
                raise LedgerUnavailable(str(answer["message"]))
            raise LedgerRefused(str(answer["code"]), str(answer["message"]))
        return answer

    def _ack(self, answer: Mapping[str, Any]) -> Ack:
        return Ack(answer["seq"], answer["id"], answer["time"], answer["jws"])

    def _send(self, message: dict[str, Any]) -> None:
        self._line.sendall(pack(message))

    def _receive(self) -> dict[str, Any]:
        data = b""
        while True:
            # First what came along with the last message.
            for message in self._unpacker.feed(data):
                return message
            data = self._line.recv(65_536)
            if not data:
                raise ProtocolError(CLOSED)


def _event(
    op: str, type: str, call: str | None, data: Mapping[str, Json], personal: Mapping[str, Json] | None
) -> dict[str, Any]:
    return {"op": op, "id": uuid7(), "type": type, "call": call, "data": dict(data), "personal": dict(personal or {})}
