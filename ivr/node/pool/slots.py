# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots: the fixed places of a pool's workers, each with a name and ports of its own. Pure, but for the lock."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from ivr.node.settings import Settings
from ivr.node.settings.pool import RTP_PORTS

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the worker of this number listens. With one worker only it is the server's own address."""

    number: int
    sip_address: str
    sip_port: int
    rtp_port: int
    rtp_range: int

    @property
    def name(self) -> str:
        """How log, edge and operator call it."""
        return f"w{self.number}"


def slot(settings: Settings, number: int) -> Slot:
    """The slot of this number. Raises ValueError when the pool has no such number."""
    if not 0 <= number < settings.pool.max:
        raise ValueError(f"there is no w{number}: the pool has w0 to w{settings.pool.max - 1}")
    media = settings.media
    if not settings.pool.edge:
        return Slot(0, settings.sip.address, settings.sip.port, media.port, media.port_range)
    return Slot(number, LOOPBACK, settings.pool.sip_port + number, media.port + RTP_PORTS * number, RTP_PORTS)


def slots(settings: Settings) -> tuple[Slot, ...]:
    """All slots of this server, by number."""
    return tuple(slot(settings, number) for number in range(settings.pool.max))


class SlotLock:
    """Held by a worker as long as its process lives, so that a new manager sees which slots are still taken.

    The kernel lets it go with the process, however that ends: flock(2) on a file beside the control socket.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.lock"
        self._fd = -1

    def take(self) -> bool:
        """Whether it is ours now. Raises OSError when the file cannot be made."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        """Lets it go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def is_free(self) -> bool:
        """Whether nobody holds it at this moment. Only for whoever also decides who may take it."""
        free = self.take()
        self.release()
        return free
