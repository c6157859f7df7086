# SPDX-License-Identifier: GPL-3.0-or-later
"""The nursery: a process that has imported and loaded everything, and forks workers that share that memory.

`python -m ivr.node.pool.nursery FOLDER FD`, started by the manager; FD is its end of a channel. It has one thread and
no event loop, and nothing of PJSIP is created in it: threads do not survive a fork, their locks do.
"""

import gc
import logging
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from setproctitle import setproctitle

from ivr.flow.place import FileError
from ivr.ledger.errors import LedgerError
from ivr.ledger.note import NoteError
from ivr.node.environment import forget_secrets
from ivr.node.load import Loaded, load
from ivr.node.logs import set_up_logs
from ivr.node.pool.channel import receive, send
from ivr.node.pool.reporter import Reporter
from ivr.node.pool.slots import SlotLock, slot
from ivr.node.process import SUPERVISED, look_up_no_names, run_process
from ivr.node.worker import Worker, run_worker
from ivr.sip.endpoint import EndpointError
from ivr.vault.errors import VaultError

log = logging.getLogger("ivr.nursery")

LOCK_S = 3.0
"""How long a new worker waits for its slot: the kernel may still be clearing away the one before."""

_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", SUPERVISED)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(folder: Path, sock: socket.socket) -> int:
    """Loads, says so, and forks on request until the manager is gone. Returns the exit status."""
    for name in _OURS:  # those are between the manager and whoever watches it
        os.environ.pop(name, None)
    forget_secrets()
    # What ends it is the end of the manager: whoever signals the whole group means the workers' orderly end.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    try:
        look_up_no_names()
        loaded = load(folder)
    except (FileError, OSError) as error:
        send(sock, {"op": "failed", "error": str(error)})
        return 2
    set_up_logs("nursery", loaded.settings.log.level, loaded.settings.log.format, loaded.settings.log.personal)
    setproctitle(f"ivr nursery --config {folder}")
    if (threads := len(os.listdir("/proc/self/task"))) != 1:
        send(sock, {"op": "failed", "error": f"the nursery has {threads} threads: a library started one, none may"})
        return 2
    # From here on no collection looks at what is loaded, so its pages stay shared.
    gc.collect()
    gc.freeze()
    send(sock, {"op": "ready", "flows": loaded.flow_hashes(), "settings_sha256": loaded.settings_sha256})
    return _Nursery(loaded, folder, sock).run()


class _Nursery:
    def __init__(self, loaded: Loaded, folder: Path, sock: socket.socket) -> None:
        self._loaded = loaded
        self._folder = folder
        self._sock = sock
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake_in.fileno())

    def run(self) -> int:
        while True:
            ready, _, _ = select.select([self._sock, self._wake_out], [], [])
            if self._wake_out in ready:
                with suppress(BlockingIOError):
                    self._wake_out.recv(4096)
                self._reap()
            if self._sock in ready:
                got = receive(self._sock)
                if got is None:
                    return 0
                self._fork(*got)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                send(self._sock, {"op": "exited", "pid": pid, "status": os.waitstatus_to_exitcode(status)})

    def _fork(self, message: dict[str, Any], fds: list[int]) -> None:
        number = int(message["slot"])
        pid = os.fork()
        if pid == 0:
            self._be_a_worker(number, socket.socket(fileno=fds[0]))
        os.close(fds[0])
        # A handle and not a number: by the time that it is used, the number may be another process's.
        handle = os.pidfd_open(pid)
        send(self._sock, {"op": "forked", "slot": number, "pid": pid}, [handle])
        os.close(handle)

    def _be_a_worker(self, number: int, channel: socket.socket) -> NoReturn:
        """The child. Whatever happens, it never returns into the nursery's loop."""
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            for end in (self._wake_in, self._wake_out, self._sock):
                end.close()
            for signum in (*_SIGNALS, signal.SIGCHLD):
                signal.signal(signum, signal.SIG_DFL)
            status = _worker(self._loaded, self._folder, number, channel)
        except BaseException:
            log.exception("the worker broke")
        finally:
            logging.shutdown()
            os._exit(status)


def _worker(loaded: Loaded, folder: Path, number: int, channel: socket.socket) -> int:
    """One worker's life after the fork; its exit status."""
    import asyncio
    import time

    settings = loaded.settings
    place = slot(settings, number)
    setproctitle(f"ivr worker {place.name} --config {folder}")
    set_up_logs(place.name, settings.log.level, settings.log.format, settings.log.personal)
    lock = SlotLock(settings.pool.control.parent, place.name)
    deadline = time.monotonic() + LOCK_S
    while not lock.take():
        if time.monotonic() > deadline:
            log.error("another process is still %s", place.name)
            return 2
        time.sleep(0.005)

    async def live(stop: asyncio.Event, _ready: object) -> None:
        reporters: list[Reporter] = []

        def on_ready(worker: Worker) -> None:
            reporters.append(Reporter(channel, worker, stop))

        try:
            await run_worker(loaded, place.name, stop, on_ready, place)
        finally:
            for reporter in reporters:
                reporter.close()

    try:
        run_process(live)
    except (LedgerError, NoteError, EndpointError, VaultError, OSError) as error:
        log.error("%s", error)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))))
