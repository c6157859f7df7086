# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are either whole and on the disk, or not there.

The order is the point: data before name, name before "done". A crash between two steps leaves at worst a temporary
file, whose name `is_leftover` knows; a file under its final name is always complete.
"""

import errno
import glob
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from ivr.vault.errors import VaultExists, from_os_error

_TEMP_MARK = ".assent-part-"


def is_leftover(name: str) -> bool:
    """Whether a file of this name is what a crash left of a write that never finished."""
    return name.startswith(".") and _TEMP_MARK in name


def leftovers_of(path: Path) -> list[Path]:
    """What crashes left of writing `path`."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}{_TEMP_MARK}*"))


def write_durably(
    path: Path, data: bytes | Iterable[bytes], *, replace: bool = False, group_as_folder: bool = False
) -> None:
    """Write `data` (or its parts, as they come) to `path`, mode 0600, so that it survives power loss once this returns.

    `group_as_folder`: the group may read and write it when it may do that with the folder.
    Raises VaultExists when the file is there and `replace` is false, VaultFull or VaultUnwritable when the system
    refuses; then neither the file nor a temporary one remains (with `replace`, the old file stays unless the very last
    step, the directory's fsync, is what failed). What the parts themselves raise leaves nothing behind either.
    """
    if not replace and os.path.lexists(path):
        raise VaultExists("exists already", path)
    temp = path.with_name(f".{path.name}{_TEMP_MARK}{secrets.token_hex(4)}")
    renamed = False
    try:
        mode = 0o600 | (_group_of(path.parent) & 0o060 if group_as_folder else 0)
        _write_new(temp, (data,) if isinstance(data, bytes) else data, mode)
        os.rename(temp, path)
        renamed = True
        sync_folder(path.parent)
    except OSError as error:
        # A name that may not outlast a power cut was never promised: take it back, so that "failed" means "not there".
        _discard(path if renamed and not replace else temp)
        raise from_os_error(error, "write", path) from error
    except BaseException:
        _discard(temp)
        raise


def _group_of(folder: Path) -> int:
    """What the group may do in a folder: the ledger lists what a worker, another user of its group, left there."""
    return os.stat(folder).st_mode & 0o070


def _write_new(path: Path, parts: Iterable[bytes], mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        os.fchmod(handle, mode)  # whatever the umask
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _discard(path: Path) -> None:
    # Already on the way out with the real error: what cannot be removed now is named by `is_leftover` later.
    try:
        os.unlink(path)
    except OSError:
        return


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path, *, exclusive: bool = False) -> None:
    """Create one folder durably, for its owner and, where its parent lets them, for its group. The parent must exist.

    `exclusive`: it must not be there yet.
    Raises VaultExists, VaultFull or VaultUnwritable.
    """
    try:
        os.mkdir(path, 0o700)
        if group := _group_of(path.parent):
            os.chmod(path, 0o700 | group)
    except FileExistsError as error:
        if exclusive or not path.is_dir():
            raise VaultExists("exists already", path) from error
        # Somebody else's mkdir may not be durable yet; the fsync below covers it too.
    except OSError as error:
        raise from_os_error(error, "create the folder", path) from error
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise from_os_error(error, "create the folder", path) from error


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing. Another recording of its call may be erased at the same moment: whichever
    comes last removes the call's folder, and neither fails for it. Raises OSError.
    """
    try:
        os.rmdir(folder)
        sync_folder(folder.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def remove_durably(path: Path) -> bool:
    """Remove a file so that it stays removed after power loss. False when it was not there."""
    try:
        os.unlink(path)
        there = True
    except FileNotFoundError:
        # Perhaps a crash came between somebody's unlink and its sync: the removal still has to become durable.
        there = False
    except OSError as error:
        raise from_os_error(error, "remove", path) from error
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise from_os_error(error, "remove", path) from error
    return there


def overwrite_and_remove(path: Path) -> bool:
    """Like `remove_durably`, with zeros written over the contents first. False when it was not there.

    The zeros reach the old blocks on a plain file system on a plain disk. Snapshots, copy-on-write file systems and
    flash translation may keep them: erasure rests on the key being sealed as well, not on this alone.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return remove_durably(path)
    except OSError as error:
        raise from_os_error(error, "overwrite", path) from error
    try:
        os.pwrite(handle, bytes(os.fstat(handle).st_size), 0)
        os.fsync(handle)
    except OSError:
        # A disk that cannot be written may still unlink; that is the part which counts, and it reports its own failure.
        pass
    finally:
        os.close(handle)
    return remove_durably(path)
