# SPDX-License-Identifier: GPL-3.0-or-later
"""The thread that does the disk work of all recordings of a store, so that nothing else ever waits for the disk."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], None]


class SealingThread:
    """Runs jobs strictly in order; it is there while somebody has it open. Jobs must not raise.

    One for all: two recordings have one disk, and the second finds the first one's code in the processor's caches.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()

    def open(self) -> None:
        """Whoever has opened it may `put`."""
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            self._jobs = SimpleQueue()
            # A daemon: a process that is told to die must not wait here; what is not sealed then is lost as in a crash.
            self._thread = threading.Thread(target=_work, args=(self._jobs,), name="seal", daemon=True)
            self._thread.start()

    def put(self, job: Job) -> None:
        """Queue a job; never blocks."""
        self._jobs.put(job)

    def close(self) -> None:
        """The end of `open`: what is queued is still done, and with the last user the thread ends."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._jobs.put(None)


def _work(jobs: "SimpleQueue[Job | None]") -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # and with it its audio, before the next one is waited for
