# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge's folder, run/edge: generated files, the key of topology hiding, copies of the certificates."""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from ivr.node.edge.model import EdgePlan
from ivr.node.edge.render import ADDRESSES, CERTIFICATE, KEY, MASK, TRUST, mask, render
from ivr.node.edge.tlsfiles import read_tls

FOLDER_MODE, FILE_MODE, SECRET_MODE = 0o750, 0o640, 0o600

Own = Callable[[int], None]
"""Gives an open file or folder to whom the edge runs as."""


def keep(_handle: int) -> None:
    """What is written stays its writer's."""


def write_all(plan: EdgePlan, own: Own = keep) -> None:
    """Writes everything that Kamailio reads, each file whole or not at all. Raises OSError, TlsFileError."""
    folder = plan.folder
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) != FOLDER_MODE:
            os.fchmod(handle, FOLDER_MODE)
        own(handle)
    finally:
        os.close(handle)
    for name, text in render(plan).items():
        write(folder / name, text.encode(), FILE_MODE, own)
    if not (folder / MASK).exists():
        write(folder / MASK, mask(secrets.token_hex(32)).encode(), SECRET_MODE, own)
    write_certificates(plan, own)


def stale(plan: EdgePlan) -> bool:
    """Whether a running edge was started with other addresses than `plan` has. False where its files cannot be read."""
    try:
        return (plan.folder / ADDRESSES).read_text("utf-8") != render(plan)[ADDRESSES]
    except OSError:
        return False


def write_certificates(plan: EdgePlan, own: Own = keep) -> None:
    """Copies certificate and key, once they are seen to belong together. Raises OSError, TlsFileError.

    Copies, because the edge's user need not be able to read where they come from, and because a half-written pair must
    not get as far as a reload.
    """
    if plan.tls is None:
        return
    pair = read_tls(plan.tls)
    write(plan.folder / KEY, pair.key, SECRET_MODE, own)
    write(plan.folder / CERTIFICATE, pair.certificate, FILE_MODE, own)
    if pair.trust is not None:
        write(plan.folder / TRUST, pair.trust, FILE_MODE, own)


def write(file: Path, data: bytes, mode: int, own: Own) -> None:
    """Replaces a file at once: a reader sees the old one or the new one."""
    part = file.with_name(f".{file.name}.part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(handle, mode)
        own(handle)
        os.write(handle, data)
    finally:
        os.close(handle)
    part.rename(file)
