# SPDX-License-Identifier: GPL-3.0-or-later
"""A new signing key for a log that goes on. The ledger must be stopped: only one process may sign.

Order, and what a crash leaves after each step:
1. `ledger.key.next` is written: the log knows nothing of it; the next rotation makes another.
2. One transaction: `key.added` and `key.retired`, signed by the old key, and a checkpoint signed by both. From here on
   the old key cannot sign any more; the ledger refuses to start with it and says how to finish.
3. `ledger.vkey` lists the new key, 4. `ledger.key.next` takes the place of `ledger.key`, and the old key is gone.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr.ledger.database import Database
from ivr.ledger.errors import LedgerMissing
from ivr.ledger.keyring import KeyRing
from ivr.ledger.keys import (
    LEDGER_KEY,
    LEDGER_VKEY,
    LedgerKey,
    load_ledger_key,
    load_private,
    load_pseudonym_key,
    private_pem,
    replace_file,
    write_secret,
)
from ivr.ledger.log import Log
from ivr.ledger.note import VKey

NEXT = "ledger.key.next"


@dataclass(frozen=True, slots=True)
class Rotated:
    """The keys before and after, and whether an interrupted rotation was finished rather than a new one made."""

    old: VKey
    new: VKey
    finished: bool


def rotate(db: Database, folder: Path) -> Rotated:
    """Give the log a new key. Raises LedgerMissing (absent, in use, other key), LedgerFatal (cannot be written)."""
    ring, waiting = KeyRing.read(folder / LEDGER_VKEY), folder / NEXT
    if waiting.exists():
        heir = LedgerKey.of(ring.first.name, load_private(waiting), _before(ring, waiting))
        if Log.is_signed_by(db, heir.kid):
            _take_over(folder, heir)
            return Rotated(heir.retired[-1], heir.vkey, finished=True)
        waiting.unlink()
    old = load_ledger_key(folder)
    private = Ed25519PrivateKey.generate()
    heir = LedgerKey.of(old.vkey.name, private, old.ring.keys)
    log = Log.open(db, old, load_pseudonym_key(folder))
    try:
        write_secret(waiting, private_pem(private))
        _same_owner(folder / LEDGER_KEY, waiting)
        log.hand_over(heir)
    finally:
        log.close()
    _take_over(folder, heir)
    return Rotated(old.vkey, heir.vkey, finished=False)


def _before(ring: KeyRing, waiting: Path) -> tuple[VKey, ...]:
    public = load_private(waiting).public_key().public_bytes_raw()
    return tuple(key for key in ring.keys if key.public != public)


def _same_owner(key: Path, heir: Path) -> None:
    """Root rotates for the ledger's user, who could not read a key that is root's."""
    if os.geteuid() == 0:
        owner = key.stat()
        os.chown(heir, owner.st_uid, owner.st_gid)


def _take_over(folder: Path, heir: LedgerKey) -> None:
    replace_file(folder / LEDGER_VKEY, heir.ring.text().encode(), 0o644)
    os.replace(folder / NEXT, folder / LEDGER_KEY)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


__all__ = ["NEXT", "LedgerMissing", "Rotated", "rotate"]
