# SPDX-License-Identifier: GPL-3.0-or-later
"""An event loop whose clock jumps to the next timer as soon as nothing is left to do: hours pass in milliseconds.

Sockets are real. Work that code hands to threads is done on the spot, or `disk_s` later on this clock; the vault's own
threads are waited for at every turn, so no disk is ever too slow or too fast for a scenario.
"""

import asyncio
import selectors
import threading
from collections.abc import Callable
from typing import Any

from ivr.vault.thread import SealingThread


class Stuck(Exception):
    """Something waits and nothing will ever end the wait."""


_THREADS: set[SealingThread] = set()
_open = SealingThread.open


def watch_sealers(monkeypatch: Any) -> None:
    """From here on the clock knows of every thread of a vault, and waits for it."""

    def opened(thread: SealingThread) -> None:
        _open(thread)
        _THREADS.add(thread)

    monkeypatch.setattr(SealingThread, "open", opened)


def _catch_up() -> None:
    """Everything that was queued has been done."""
    for thread in list(_THREADS):
        if thread._users:
            done = threading.Event()
            thread.put(done.set)
            done.wait()
        else:
            thread._thread.join()
            _THREADS.discard(thread)


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for sockets only as long as it must; then time passes."""

    jump: Callable[[float | None], None]

    def select(self, timeout: float | None = None) -> Any:
        _catch_up()  # at every turn, so that threads finish in the same order every time
        found = super().select(0)
        if not found and timeout != 0:
            self.jump(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0. `disk_s`: how long work in threads takes, in seconds of this clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.disk_s = 0.0
        selector = _JumpingSelector()
        selector.jump = self._jump
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def _jump(self, timeout: float | None) -> None:
        if timeout is None:
            raise Stuck("nothing is scheduled, and nobody has anything to do")
        self.now += timeout

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        future = self.create_future()

        def work() -> None:
            if future.done():
                return
            try:
                future.set_result(func(*args))
            except BaseException as error:
                future.set_exception(error)

        self.call_later(self.disk_s, work) if self.disk_s else work()
        return future

    def waiting(self) -> list[str]:
        """Timers that have neither run nor been cancelled."""
        return [repr(handle) for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
