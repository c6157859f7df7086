# SPDX-License-Identifier: GPL-3.0-or-later
"""A process beside Kamailio that writes its lines in our form. It always reads, whether or not anybody takes them.

Kamailio writes into a pipe and would stand when that is full. So one thread reads for ever and another writes; between
them is room for some thousand lines. More are left out, and how many is said. It ends when the last process of
Kamailio's has closed the pipe, and by no signal that asks: the last lines are those that matter. A program of its own
that imports little, for it is there as long as the edge: 8 MB instead of 40.
"""

import ctypes
import os
import sys
import threading
from collections import deque
from contextlib import suppress

from ivr.node import journal
from ivr.node.edge.lines import Lines

ROOM = 4 << 20
"""Bytes that wait while nobody takes them."""
LONGEST = 1 << 16
LAST_S = 5.0
_PR_SET_NO_NEW_PRIVS = 38


class Writer:
    """Writes to a descriptor in a thread of its own, in order."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._waiting: deque[bytes] = deque()
        self._size = self._lost = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Never waits."""
        data = f"{line}\n".encode(errors="replace")
        with self._changed:
            if self._size + len(data) > ROOM:  # the line that is being written counts too
                self._lost += 1
                return
            self._size += len(data)
            self._waiting.append(data)
            self._changed.notify()

    def close(self) -> None:
        """Waits a little for what is still to be written."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(LAST_S)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                data = self._waiting.popleft()
                size = len(data)
                lost = self._lost if not self._waiting else 0
                self._lost -= lost
            if lost:
                data += f"edge: {lost} lines are missing here: nobody took them in time\n".encode()
            while data:
                try:
                    data = data[os.write(self._to, data) :]
                except OSError:
                    break  # nobody reads any more; the edge goes on
            with self._changed:
                self._size -= size


def copy(source: int, writer: Writer, lines: Lines) -> None:
    """Until the other end is closed."""
    rest = b""
    while data := os.read(source, LONGEST):
        *whole, rest = (rest + data).split(b"\n")
        if len(rest) > LONGEST:
            whole.append(rest)
            rest = b""
        for raw in whole:
            for line in lines.of(raw):
                writer.put(line)
    for line in lines.of(rest):
        writer.put(line)


def main(arguments: list[str]) -> None:
    """FORM (text or json), what of it is told (known or whole), whether it is masked, and whom to become (or -1 -1)."""
    form, what, personal, uid, gid = arguments
    if int(uid) >= 0:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    writer = Writer(2)
    with suppress(OSError):
        copy(0, writer, Lines(form, whole=what == "whole", clear=personal == "clear", to_journal=journal.reads()))
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1:])
