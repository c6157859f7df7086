# SPDX-License-Identifier: GPL-3.0-or-later
"""What worker and ledger say to each other: JSON objects, each after its length as 4 bytes, big-endian.

worker → ledger   {"op":"hello","v":1,"worker":NAME,"role":"worker"|"tool","live":[CALL,…]}
                  {"op":"append","n":N,"id":UUID,"type":…,"call":…,"data":{…},"personal":{…},"again":BOOL}
tool → ledger     the same, with "auth":{"who":NAME,"sig":…} where a person must sign (people.py), and
                  {"op":"find","n":N,"id":UUID,"by":"number"|"reference"|"request","value":…,"auth":…}
                  {"op":"erase","n":N,…as append…,"fields":[[SEQ,NAME|null],…],"subject":NUMBER|SEQ|null,"auth":…}
                  {"op":"stats"}: what the ledger counted, and how it is doing (stats.py); answered at once
                  {"op":"ping"}: are you there, and does the disk take what it was given? Only after a welcome with
                  "pings":true: a ledger of an earlier release does not know it
ledger → worker   {"op":"welcome","log":ORIGIN,"lost":[CALL,…],"pings":true}
                  {"op":"refused","n":0,"code":CODE,"message":…}, instead of a welcome: why this peer may not stay
                  {"op":"pong"}, once nothing that came before the ping is on its way to the disk any more
                  {"op":"ack","n":N,"seq":…,"id":…,"time":…,"jws":…}
                  {"op":"refused","n":N,"code":CODE,"message":…}
ledger → tool     {"op":"found","n":N,"events":[[SEQ,NAME,CALL|null,TYPE],…],"more":BOOL}
                  {"op":"stats","stats":{…}}
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

VERSION = 1
MAX_FRAME = 256 * 1024
_LENGTH = struct.Struct(">I")

# Codes of "refused". All but FATAL mean that this event is wrong; FATAL means that nothing can be written.
FATAL = "fatal"
INVALID = "invalid"
NOT_ALLOWED = "not-allowed"
CALL_CLOSED = "call-closed"
CALL_FOREIGN = "call-foreign"
LIMITED = "limited"


CLOSED = "the ledger closed the connection without a word; its own lines say why"


class ProtocolError(Exception):
    """The other side does not speak this protocol; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Ack:
    """A durable event: its place, id, the ledger's time, and the compact signed JWS without disclosures."""

    seq: int
    id: str
    time: str
    jws: str


def pack(message: dict[str, Any]) -> bytes:
    """One frame. Raises ProtocolError when it is too large or cannot be written as JSON."""
    try:
        body = orjson.dumps(message, option=orjson.OPT_STRICT_INTEGER)
    except TypeError as error:
        raise ProtocolError(f"cannot be sent: {error}") from None
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a message of {len(body)} bytes; the limit is {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


def closed(error: OSError | ProtocolError) -> str:
    """Why there is no ledger at the other end, in words; never empty, as the text of a connection's end may be."""
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return CLOSED
    return str(error) or type(error).__name__


class Unpacker:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that `data` completes. Raises ProtocolError."""
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(buffer, start)
                if length > MAX_FRAME:
                    raise ProtocolError(f"a message of {length} bytes; the limit is {MAX_FRAME}")
                end = start + _LENGTH.size + length
                if len(buffer) < end:
                    return
                body = bytes(buffer[start + _LENGTH.size : end])
                start = end
                yield _message(body)
        finally:
            del buffer[:start]


def _message(body: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"not JSON: {error}") from None
    if not isinstance(message, dict) or not isinstance(message.get("op"), str):
        raise ProtocolError("not an object with an op")
    return message
