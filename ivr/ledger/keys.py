# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's secrets on disk. Made once by `ivr init`, refused when anybody else could have read them."""

import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr.ledger.errors import LedgerMissing
from ivr.ledger.event import key_id
from ivr.ledger.keyring import KeyRing
from ivr.ledger.note import VKey

LEDGER_KEY = "ledger.key"
LEDGER_VKEY = "ledger.vkey"
PSEUDONYM_KEY = "pseudonym.key"
PSEUDONYM_BYTES = 32


@dataclass(frozen=True, slots=True)
class LedgerKey:
    """The signing key of one log. `sign` gives 64 bytes; `kid` names the key in every event.

    `retired` are the public halves of the keys before it, oldest first: what they signed still holds.
    """

    vkey: VKey
    kid: str
    sign: Callable[[bytes], bytes] = field(repr=False)
    retired: tuple[VKey, ...] = ()

    @classmethod
    def of(cls, origin: str, private: Ed25519PrivateKey, retired: tuple[VKey, ...] = ()) -> "LedgerKey":
        """The key of the log called `origin`."""
        vkey = VKey(origin, private.public_key().public_bytes_raw())
        return cls(vkey, key_id(vkey.public), private.sign, retired)

    @property
    def ring(self) -> KeyRing:
        """All keys of the log, this one last."""
        return KeyRing((*self.retired, self.vkey))


def create_keys(folder: Path, origin: str) -> LedgerKey:
    """Write ledger.key, ledger.vkey and pseudonym.key. Raises FileExistsError rather than overwrite any."""
    private = Ed25519PrivateKey.generate()
    key = LedgerKey.of(origin, private)
    write_secret(folder / LEDGER_KEY, private_pem(private))
    write_secret(folder / PSEUDONYM_KEY, secrets.token_hex(PSEUDONYM_BYTES).encode() + b"\n")
    write_new(folder / LEDGER_VKEY, f"{key.vkey}\n".encode(), 0o644)
    return key


def load_ledger_key(folder: Path) -> LedgerKey:
    """The signing key. Raises LedgerMissing when it is absent, readable by others, or not the key of ledger.vkey."""
    path = folder / LEDGER_KEY
    private = load_private(path)
    vkey = load_vkey(folder)
    ring = KeyRing.read(folder / LEDGER_VKEY)
    key = LedgerKey.of(vkey.name, private, ring.keys[:-1])
    if key.vkey != vkey:
        raise LedgerMissing(
            f"{path} is not the key that {folder / LEDGER_VKEY} publishes: one was exchanged, "
            "or a rotation was interrupted (finish it with: ivr keys rotate)"
        )
    return key


def load_private(path: Path) -> Ed25519PrivateKey:
    """A secret key file. Raises LedgerMissing."""
    raw = read_secret(path)
    try:
        private = serialization.load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise LedgerMissing(f"{path}: not an unencrypted PKCS8 PEM key: {error}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise LedgerMissing(f"{path}: not an Ed25519 key")
    return private


def private_pem(private: Ed25519PrivateKey) -> bytes:
    """The key as it is stored."""
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_vkey(folder: Path) -> VKey:
    """The public half, for everybody who only checks. Raises LedgerMissing, NoteError."""
    path = folder / LEDGER_VKEY
    if not path.is_file():
        raise LedgerMissing(_absent(path))
    return VKey.read(path)


def load_pseudonym_key(folder: Path) -> bytes:
    """The 32-byte HMAC key under which numbers are found again. Raises LedgerMissing."""
    path = folder / PSEUDONYM_KEY
    try:
        key = bytes.fromhex(read_secret(path).decode("ascii").strip())
    except ValueError:
        raise LedgerMissing(f"{path}: not {PSEUDONYM_BYTES} bytes in hex") from None
    if len(key) != PSEUDONYM_BYTES:
        raise LedgerMissing(f"{path}: {len(key)} bytes, expected {PSEUDONYM_BYTES}")
    return key


def read_secret(path: Path) -> bytes:
    """Read a file that only its owner may access, who is this user or root. Raises LedgerMissing.

    Root may read anybody's: under systemd the keys belong to the ledger's user, and the tools are root's.
    """
    try:
        with path.open("rb") as file:
            # On the open file, not the path: what was checked is what is read.
            status = os.fstat(file.fileno())
            if stat.S_IMODE(status.st_mode) & 0o077:
                mode = stat.S_IMODE(status.st_mode)
                raise LedgerMissing(f"{path}: mode {mode:04o} lets others read the key; run: chmod 600 {path}")
            if os.geteuid() not in (0, status.st_uid) and status.st_uid != 0:
                raise LedgerMissing(f"{path}: belongs to user {status.st_uid}, not to this one")
            return file.read(65_536)
    except FileNotFoundError:
        raise LedgerMissing(_absent(path)) from None
    except OSError as error:
        raise LedgerMissing(f"{path}: cannot be read: {error.strerror}") from None


def write_secret(path: Path, content: bytes) -> None:
    """Create a 0600 file durably. Raises FileExistsError."""
    write_new(path, content, 0o600)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Create a file that was not there, with its directory entry on disk before this returns."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask: other users' programs read what is public
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Put a file in the place of another one, whole or not at all, on disk before this returns."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    write_new(part, content, mode)
    os.replace(part, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _absent(path: Path) -> str:
    return f"{path} is not there; keys and log are made once with: ivr init DIR"
