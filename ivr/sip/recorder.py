# SPDX-License-Identifier: GPL-3.0-or-later
"""Records one party from C into memory: no plain audio ever has a file.

PJMEDIA's WAV writer is given a symbolic link that names a memfd; the link is gone a moment later. Samples are read
back as they are flushed, and their memory is given back to the system a few seconds later.
"""

import ctypes
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pjsua2 as pj

from ivr.sip.leg import Leg, LegGone
from ivr.sip.library import library

_HEADER = 44
_PAGE = 4096
_FREE_PAGES = 32
"""Memory is given back in steps of about 128 KB, which is eight seconds at 8 kHz: doing it costs as much as reading."""

_PUNCH_HOLE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_libc = ctypes.CDLL(None, use_errno=True)


@cache
def _get_pos() -> Callable[[ctypes.c_void_p], int]:
    function: Any = library().pjmedia_wav_writer_port_get_pos
    function.restype, function.argtypes = ctypes.c_ssize_t, [ctypes.c_void_p]
    return function  # type: ignore[no-any-return]


class RecorderError(Exception):
    """The recorder could not be opened or read; nothing is recorded."""


class PartyRecorder:
    """Samples of one leg, int16 mono at the bridge's rate. For the loop's thread."""

    def __init__(self, name: str) -> None:
        self._fd = -1
        self._read = 0
        self._freed = 1  # the first page has the header, which PJMEDIA writes again at the end
        self._leg: Leg | None = None
        self._recorder: Any = pj.AudioMediaRecorder()
        try:
            self._fd = os.memfd_create(f"assent-{name}", os.MFD_CLOEXEC)
            with tempfile.TemporaryDirectory(prefix="assent-") as folder:
                link = Path(folder) / "party.wav"
                link.symlink_to(f"/proc/self/fd/{self._fd}")
                self._recorder.createRecorder(str(link))
            self._port = self._find_port()
        except (pj.Error, OSError, RecorderError) as error:
            self.free()
            why = error.reason if isinstance(error, pj.Error) else error
            raise RecorderError(f"no recorder in memory: {why}") from error

    def _find_port(self) -> ctypes.c_void_p:
        """The C port, for its exact position: pjsua2 does not wrap it."""
        slot = self._recorder.getPortId()
        port = ctypes.c_void_p()
        lib = library()
        for number in range(64):
            if (
                lib.pjsua_recorder_get_conf_port(number) == slot
                and lib.pjsua_recorder_get_port(number, ctypes.byref(port)) == 0
            ):
                return port
        raise RecorderError("the recorder's port cannot be found")

    def connect(self, leg: Leg) -> None:
        """Samples of this leg flow from the next tick of the clock on."""
        try:
            leg.tap(self._recorder)
        except LegGone as error:
            raise RecorderError(str(error)) from error
        self._leg = leg

    def disconnect(self) -> None:
        """No more samples. Harmless when the leg is gone."""
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.untap(self._recorder)

    def position(self) -> int:
        """Samples written so far, exactly, flushed or not."""
        if self._recorder is None:
            return self._read
        return int(_get_pos()(self._port)) // 2

    def read(self, limit: int | None = None) -> np.ndarray:
        """Samples flushed since the last read, at most `limit`. int16, shape (n,)."""
        size = os.fstat(self._fd).st_size - _HEADER
        count = max(0, size // 2 - self._read)
        if limit is not None:
            count = min(count, limit)
        data = os.pread(self._fd, count * 2, _HEADER + self._read * 2)
        self._read += len(data) // 2
        done = (_HEADER + self._read * 2) // _PAGE
        if done - self._freed >= _FREE_PAGES:
            self._give_back(done)
        return np.frombuffer(data, dtype="<i2")

    def _give_back(self, upto: int) -> None:
        offset, length = ctypes.c_long(self._freed * _PAGE), ctypes.c_long((upto - self._freed) * _PAGE)
        _libc.fallocate(self._fd, _PUNCH_HOLE, offset, length)
        self._freed = upto

    @property
    def taken(self) -> int:
        """Samples read so far."""
        return self._read

    @property
    def flushed(self) -> int:
        """Samples that `read` would give now."""
        return max(0, (os.fstat(self._fd).st_size - _HEADER) // 2 - self._read)

    def close(self) -> None:
        """Closes the recorder so that everything is flushed; `read` still works until `free`."""
        self.disconnect()
        self._recorder = None

    def free(self) -> None:
        """Gives the memory back."""
        self.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
