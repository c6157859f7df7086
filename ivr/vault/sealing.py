# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can open what: age (X25519) keys of the operator and of each recording.

Two locks in a row. A recording's segments are sealed to a key pair made for it alone; the secret half is sealed to the
operator's recipients and kept in the key store. Destroying that one small file destroys the recording in every backup.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyrage
from pyrage import x25519

from ivr.vault.errors import CannotOpen, KeyFileError

_SECRET = "AGE-SECRET-KEY-1"


@dataclass(frozen=True, slots=True)
class Recipients:
    """The operator's public keys: every one of them can open every recording. Never empty."""

    keys: tuple[str, ...]

    def parsed(self) -> list[x25519.Recipient]:
        return [x25519.Recipient.from_str(key) for key in self.keys]


def load_recipients(path: Path) -> Recipients:
    """Read a file of `age1…` recipients, one a line; blank lines and `#` comments are allowed.

    Raises KeyFileError with the line that is wrong, or when no recipient is left.
    """
    keys: list[str] = []
    for number, line in _lines(path, "the recipients of the recordings; `ivr init` makes one"):
        if line.upper().startswith("AGE-SECRET-KEY-"):
            raise KeyFileError(
                "a secret key among the recipients",
                f"{path}:{number}",
                "move it off this machine and put its public key (age1…) here",
            )
        try:
            x25519.Recipient.from_str(line)
        except pyrage.RecipientError as error:
            raise KeyFileError(
                f"not an age X25519 recipient: {line[:16]!r}…",
                f"{path}:{number}",
                "expected age1… as `age-keygen -y` prints",
            ) from error
        if line not in keys:
            keys.append(line)
    if not keys:
        raise KeyFileError("no recipient in the file", path, "add the public key (age1…) of the officer")
    return Recipients(tuple(keys))


def load_identities(path: Path) -> list[x25519.Identity]:
    """Read an age identity file (`AGE-SECRET-KEY-1…`, one a line, comments allowed).

    Raises KeyFileError with the line that is wrong; the line itself is never repeated.
    """
    identities = _identities(_lines(path, "an age identity"), path)
    if not identities:
        raise KeyFileError("no identity in the file", path, "give the file that `age-keygen` or `ivr init` made")
    return identities


def _identities(lines: Sequence[tuple[int, str]], where: object) -> list[x25519.Identity]:
    found: list[x25519.Identity] = []
    for number, line in lines:
        if not line.upper().startswith(_SECRET):
            hint = "this is a recipient, not an identity" if line.startswith("age1") else "expected AGE-SECRET-KEY-1…"
            if line.startswith(("age-encryption.org/", "-----BEGIN AGE")):
                hint = "the identity file is itself encrypted: open it with `age -d` first"
            raise KeyFileError("not an age X25519 identity", f"{where}:{number}", hint)
        try:
            found.append(x25519.Identity.from_str(line))
        except pyrage.IdentityError:
            # The library's text may quote the line, which is a secret.
            raise KeyFileError("not a valid age identity", f"{where}:{number}", "is a character missing?") from None
    return found


def _lines(path: Path, what: str) -> list[tuple[int, str]]:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise KeyFileError("not a text file", path, f"expected {what}") from error
    except OSError as error:
        raise KeyFileError(f"cannot read: {error.strerror}", path, f"expected {what}") from error
    numbered = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in numbered if line and not line.startswith("#")]


def new_recording_key(recipients: Recipients, note: str) -> tuple[bytes, x25519.Recipient]:
    """A key pair for one recording: its secret, sealed to `recipients`, and its public half.

    The sealed text is an age identity file, `note` a comment line in it, so that the `age` command opens a recording in
    two steps. The secret in clear lives in this frame alone: freed on return (Python cannot wipe it), never stored.
    """
    secret = x25519.Identity.generate()
    public = secret.to_public()
    text = f"# {note}\n# public key: {public}\n{secret}\n"
    return pyrage.encrypt(text.encode(), recipients.parsed()), public


def seal(data: bytes, public: x25519.Recipient) -> bytes:
    """`data` as an age file that only the recording's secret opens."""
    return pyrage.encrypt(data, [public])


def open_sealed(data: bytes, identities: Sequence[x25519.Identity], where: object) -> bytes:
    """The contents of an age file. Raises CannotOpen (another's key, or not the bytes that were sealed)."""
    try:
        return pyrage.decrypt(data, list(identities))
    except pyrage.DecryptError as error:
        raise CannotOpen(f"cannot be opened: {error}", where, "wrong identity, or the file was changed") from error


def open_recording_key(sealed: bytes, identities: Sequence[x25519.Identity], where: object) -> list[x25519.Identity]:
    """The identity that opens a recording's segments, with the officer's. Raises CannotOpen."""
    text = open_sealed(sealed, identities, where).decode("utf-8", "replace")
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line and not line.startswith("#")]
    found = _identities(lines, where)
    if not found:
        raise CannotOpen("holds no identity", where, "the key store's entry is not one of ours")
    return found
