# SPDX-License-Identifier: GPL-3.0-or-later
"""C2SP signed notes and tlog checkpoints (STANDARDS section 6), with Ed25519 keys (signature type 0x01)."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ivr.ledger.signature import verify_ed25519

_ED25519 = b"\x01"
_NEUTRAL = b"\x01" + bytes(63)
_SIGNATURE_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
MAX_SIGNATURES = 64


class NoteError(ValueError):
    """A note, a checkpoint or a verifier key that is malformed, or that no known key signed."""


@dataclass(frozen=True, slots=True)
class VKey:
    """A C2SP verifier key: the log's name (its origin) and its raw 32-byte Ed25519 public key."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise NoteError(f"{self.name!r} is not a key name: no spaces, no '+', not empty")
        if len(self.public) != 32:
            raise NoteError(f"an Ed25519 public key has 32 bytes, not {len(self.public)}")
        # With a key of small order this signature fits every message, and so could anybody's.
        if verify_ed25519(_NEUTRAL, b"", self.public):
            raise NoteError("the public key is one of small order: anybody can sign for it")

    @property
    def key_hash(self) -> bytes:
        """The 4 bytes by which a signature line names its key."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> "VKey":
        """Read `name+hash+base64`. Raises NoteError when a part is wrong or the hash does not fit the key."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3:
            raise NoteError(f"{text.strip()!r} is not a verifier key (name+hash+base64)")
        raw = _unbase64(parts[2], "the verifier key")
        if raw[:1] != _ED25519:
            raise NoteError("the verifier key is not an Ed25519 key (type 0x01)")
        key = cls(parts[0], raw[1:])
        if key.key_hash.hex() != parts[1]:
            raise NoteError(f"the verifier key names itself {parts[1]}, but its hash is {key.key_hash.hex()}")
        return key

    @classmethod
    def read(cls, path: Path) -> "VKey":
        """The key in force, the last line of a file of verifier keys. Raises NoteError that names the file."""
        try:
            return cls.parse(path.read_text("utf-8").strip().rpartition("\n")[2])
        except (OSError, UnicodeDecodeError, NoteError) as error:
            raise NoteError(f"{path}: {error}") from None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says about itself: its origin, the number of entries and the tree's root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read a checkpoint body. Extension lines are refused: this log never writes any."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:
            raise NoteError("a checkpoint has three lines: origin, size, root")
        if not _SIZE.fullmatch(lines[1]):
            raise NoteError(f"checkpoint size {lines[1]!r} is not a decimal number without leading zeros")
        root = _unbase64(lines[2], "the checkpoint's root")
        if len(root) != 32:
            raise NoteError("the checkpoint's root is not 32 bytes")
        return cls(lines[0], int(lines[1]), root)


def is_key_name(name: str) -> bool:
    """Key names are not empty and have neither white space, control characters nor '+'."""
    return bool(name) and "+" not in name and all(c.isprintable() and not c.isspace() for c in name)


def sign_note(text: str, key: VKey, signer: Callable[[bytes], bytes]) -> str:
    """The signed note over `text`, which must end with a newline and hold no other control characters."""
    if not text.endswith("\n") or any(ord(c) < 0x20 and c != "\n" for c in text):
        raise NoteError("a note's text ends with a newline and has no other control characters")
    blob = base64.b64encode(key.key_hash + signer(text.encode())).decode()
    return f"{text}\n— {key.name} {blob}\n"


def add_signature(note: str, key: VKey, signer: Callable[[bytes], bytes]) -> str:
    """The note with one more signature over the same text."""
    blob = base64.b64encode(key.key_hash + signer(note_text(note).encode())).decode()
    return f"{note}— {key.name} {blob}\n"


def note_text(note: str) -> str:
    """The text of a signed note whose signatures are NOT checked. Raises NoteError."""
    text, blank, signatures = note.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise NoteError("not a signed note: no blank line before the signatures, or no newline at the end")
    if any(ord(c) < 0x20 and c != "\n" for c in note):
        raise NoteError("not a signed note: it holds control characters")
    return text + "\n"


def open_note(note: str, keys: Sequence[VKey]) -> str:
    """The text of a signed note. Unknown keys are ignored; a known key whose signature fails refuses the note."""
    text = note_text(note)
    lines = note[len(text) + 1 : -1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"not a signed note: more than {MAX_SIGNATURES} signatures")
    known = {(key.name, key.key_hash): key for key in keys}
    good = 0
    for line in lines:
        match = _SIGNATURE_LINE.fullmatch(line)
        if match is None:
            raise NoteError(f"not a signature line: {line!r}")
        blob = _unbase64(match[2], "a signature")
        key = known.get((match[1], blob[:4]))
        if key is None:
            continue
        if not verify_ed25519(blob[4:], text.encode(), key.public):
            raise NoteError(f"the signature of {key.name} does not hold")
        good += 1
    if not good:
        raise NoteError(f"not signed by {', '.join(key.name for key in keys) or 'any known key'}")
    return text


def open_checkpoint(note: str, key: VKey) -> Checkpoint:
    """A checkpoint signed by the log's key and carrying the log's name as its origin. Raises NoteError."""
    checkpoint = Checkpoint.parse(open_note(note, [key]))
    if checkpoint.origin != key.name:
        raise NoteError(f"the checkpoint is of {checkpoint.origin!r}, the key of {key.name!r}")
    return checkpoint


def _unbase64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError(f"{what} is not base64: {error}") from None
    if base64.b64encode(raw).decode() != text:
        raise NoteError(f"{what} is not in canonical base64")
    return raw
