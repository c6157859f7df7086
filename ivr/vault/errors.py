# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in the vault. Every error says what, where and what to do."""

import errno
from pathlib import Path
from typing import ClassVar


class VaultError(Exception):
    """The vault could not do what was asked. `category` is stable: metrics and events carry it, never the text."""

    category: ClassVar[str] = "vault"

    def __init__(self, what: str, where: object = None, todo: str = "") -> None:
        self.what, self.where, self.todo = what, where, todo
        text = what if where is None else f"{where}: {what}"
        super().__init__(f"{text}; {todo}" if todo else text)


class VaultFull(VaultError):
    """No room: ENOSPC, a quota, a file size limit, or less free than the configured minimum."""

    category = "full"


class VaultUnwritable(VaultError):
    """The storage refuses: I/O error, read-only, no permission, folder missing."""

    category = "unwritable"


class VaultTooSlow(VaultError):
    """Audio arrives faster than the storage takes it, for longer than the backlog allows."""

    category = "slow"


class VaultExists(VaultError):
    """Something of that name is there already, and is never overwritten unasked."""

    category = "exists"


class VaultClosed(VaultError):
    """The recording has been finished or erased; nothing can be added to it."""

    category = "closed"


class NotFound(VaultError):
    """No such recording, or several whose id begins so."""

    category = "not-found"


class KeyFileError(VaultError):
    """A file of recipients or identities that cannot be used."""

    category = "keys"


class CannotOpen(VaultError):
    """None of the identities opens this, or its key has been destroyed."""

    category = "cannot-open"


class Damaged(VaultError):
    """The bytes on disk are not what was written."""

    category = "damaged"


class ArchiveError(VaultError):
    """The archive did not do what was asked; what is here stays here."""

    category = "archive"


class ArchiveAway(ArchiveError):
    """It cannot be reached, or answers that it is out of order: the same may work later."""

    category = "archive-away"


class ArchiveRefused(ArchiveError):
    """It answers, and says no: wrong credentials, no such bucket, not allowed."""

    category = "archive-refused"


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def from_os_error(error: OSError, doing: str, where: Path) -> VaultError:
    """The vault's error for a system call that failed while `doing` something to `where`."""
    reason = f"cannot {doing}: {error.strerror or error}"
    if error.errno in _FULL:
        return VaultFull(reason, where, "free some space or move the storage")
    if error.errno == errno.EEXIST:
        return VaultExists(reason, where)
    return VaultUnwritable(reason, where, "check the disk, the mount and the owner of the folder")
