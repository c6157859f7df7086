# SPDX-License-Identifier: GPL-3.0-or-later
"""Witness cosignatures of checkpoints (C2SP tlog-cosignature, Ed25519: signature type 0x04).

A witness says: at this time, this was the largest tree of this log that I had seen, and it extended all before it.
"""

import base64
import binascii
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from ivr.ledger.note import NoteError, is_key_name, note_text
from ivr.ledger.signature import verify_ed25519

_TYPE = b"\x04"
_TIME = struct.Struct(">Q")
_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
MAX_TIME = 2**63 - 1


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """A witness: its name and its raw 32-byte Ed25519 public key."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name) or len(self.public) != 32:
            raise NoteError(f"{self.name!r} is not a witness: a name without spaces and '+', and a key of 32 bytes")

    @property
    def key_hash(self) -> bytes:
        """The 4 bytes by which a signature line names its key."""
        return sha256(self.name.encode() + b"\n" + _TYPE + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{base64.b64encode(_TYPE + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> "CosignerKey":
        """Read a verifier key of type 0x04. Raises NoteError."""
        parts = text.strip().split("+", 2)
        try:
            raw = base64.b64decode(parts[2], validate=True)
        except (IndexError, binascii.Error, ValueError):
            raw = b""
        if raw[:1] != _TYPE:
            raise NoteError(f"{text.strip()!r} is not the key of an Ed25519 witness (name+hash+base64, type 0x04)")
        key = cls(parts[0], raw[1:])
        if str(key) != text.strip():
            raise NoteError(f"the witness key names itself {parts[1]}, but its hash is {key.key_hash.hex()}")
        return key


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A cosignature that holds. `time` is in seconds since 1970, by the witness's clock."""

    key: CosignerKey
    time: int
    line: str


def cosign(note: str, key: CosignerKey, signer: Callable[[bytes], bytes], time: int) -> str:
    """The signature line of a witness, ended by a newline."""
    signature = signer(_message(note_text(note), time))
    blob = base64.b64encode(key.key_hash + _TIME.pack(time) + signature).decode()
    return f"— {key.name} {blob}\n"


def cosigners(note: str, known: Iterable[CosignerKey]) -> list[Cosignature]:
    """The cosignatures of known witnesses. Unknown ones are ignored; a known one that fails raises NoteError."""
    text = note_text(note)
    by_name = {(key.name, key.key_hash): key for key in known}
    found: list[Cosignature] = []
    for line, name, blob in _lines(note[len(text) + 1 :]):
        key = by_name.get((name, blob[:4]))
        if key is None:
            continue
        if len(blob) != 4 + _TIME.size + 64:
            raise NoteError(f"the cosignature of {name} has {len(blob)} bytes")
        (time,) = _TIME.unpack_from(blob, 4)
        if time > MAX_TIME or not verify_ed25519(blob[12:], _message(text, time), key.public):
            raise NoteError(f"the cosignature of {name} does not hold")
        found.append(Cosignature(key, time, f"{line}\n"))
    return found


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _lines(signatures: str) -> Iterator[tuple[str, str, bytes]]:
    for line in signatures.split("\n")[:-1]:
        match = _LINE.fullmatch(line)
        if match is None:
            raise NoteError(f"not a signature line: {line!r}")
        try:
            yield line, match[1], base64.b64decode(match[2], validate=True)
        except (binascii.Error, ValueError):
            raise NoteError(f"not a signature line: {line!r}") from None
