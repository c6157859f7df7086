# SPDX-License-Identifier: GPL-3.0-or-later
"""A recording's disk work, strictly in order, on the thread of its store."""

import logging
import threading
from collections.abc import Callable

from pyrage import x25519

from ivr.vault import sealing
from ivr.vault.errors import VaultError
from ivr.vault.segments import Audio, Label, SegmentFact, encode
from ivr.vault.store import Erasure, RecordingStore
from ivr.vault.thread import Job

_log = logging.getLogger(__name__)


class Sealer:
    """Takes audio, leaves sealed files. One per recording; its methods only queue and never block.

    After the first error no further audio is written (it is forgotten at once); dropping and erasing still run.
    """

    def __init__(
        self, store: RecordingStore, call: str, recording: str, rate: int, on_error: Callable[[VaultError], None] | None
    ) -> None:
        self._store, self._call, self._recording, self._rate = store, call, recording, rate
        self._on_error = on_error
        self._lock = threading.Lock()
        # Under the lock: the queuing thread reads what the sealing thread writes.
        self._error: VaultError | None = None
        self._pending = 0
        self._facts: list[SegmentFact] = []
        self._erasure: Erasure | None = None
        # Owned by the sealing thread.
        self._public: x25519.Recipient | None = None
        store.thread.open()

    @property
    def error(self) -> VaultError | None:
        """The first error, after which nothing more was written."""
        with self._lock:
            return self._error

    @property
    def pending(self) -> int:
        """Samples queued and not durable yet."""
        with self._lock:
            return self._pending

    @property
    def facts(self) -> list[SegmentFact]:
        """The segments that are durable, in order."""
        with self._lock:
            return list(self._facts)

    @property
    def erasure(self) -> Erasure | None:
        """What `erase` destroyed, once it has."""
        with self._lock:
            return self._erasure

    def open(self, opened: Callable[[str | None, VaultError | None], None]) -> None:
        """Queue making key and folder; `opened` gets the public key or the error, on the sealing thread."""

        def job() -> None:
            self._public = self._store.create(self._call, self._recording)

        self._put(job)
        self._put(lambda: opened(None if self._public is None else str(self._public), self.error))

    def seal(self, n: int, start: int, audio: Audio, at_ms: int) -> None:
        """Queue sealing one segment; the array is the sealer's from now on."""
        with self._lock:
            self._pending += len(audio)

        def job() -> None:
            try:
                if self.error is None:
                    self._seal(n, start, audio, at_ms)
            finally:
                with self._lock:
                    self._pending -= len(audio)

        self._put(job)

    def _seal(self, n: int, start: int, audio: Audio, at_ms: int) -> None:
        if self._public is None:
            raise VaultError("no key: the recording was not opened", self._recording)
        label = Label(self._call, self._recording, n, start, len(audio), at_ms)
        sealed = sealing.seal(encode(audio, self._rate, label), self._public)
        fact = self._store.add(self._call, self._recording, n, start, len(audio), sealed)
        with self._lock:
            self._facts.append(fact)

    def drop_from(self, sample: int) -> None:
        """Queue removing every segment that reaches past `sample`."""

        def job() -> None:
            for fact in reversed(self.facts):
                if fact.end <= sample:
                    return
                # When this raises the file is still there, so its fact stays: what is reported is what is on the disk.
                self._store.drop(self._call, self._recording, fact)
                with self._lock:
                    self._facts.remove(fact)

        self._put(job)

    def erase(self) -> None:
        """Queue destroying key and files; `erasure` says so once done, and stays None when the disk refused."""

        def job() -> None:
            erasure = self._store.erase(self._call, self._recording)
            with self._lock:
                self._facts.clear()
                self._erasure = erasure

        self._put(job)

    def then(self, done: Callable[[], None]) -> None:
        """Queue a call of `done` on the sealing thread, after everything queued so far. It is the last one."""
        self._put(done)
        self._store.thread.close()

    def fail(self, error: VaultError) -> None:
        """Record the first error and tell it, once. Any thread."""
        with self._lock:
            if self._error is not None:
                return
            self._error = error
        try:
            if self._on_error is not None:
                self._on_error(error)
        except Exception:
            # Whoever listened is in trouble (a closed loop, say); the summary and an erasure must still come.
            _log.exception("recording %s: nobody could be told of: %s", self._recording, error)

    def _put(self, job: Job) -> None:
        self._store.thread.put(lambda: self._run(job))

    def _run(self, job: Job) -> None:
        try:
            job()
        except VaultError as error:
            self.fail(error)
        except Exception as error:
            # A fault of the program, not of the disk: it must end the recording like any other error.
            _log.exception("recording %s: the sealing thread met a fault", self._recording)
            self.fail(VaultError(f"internal fault: {error}", self._recording, "report this with the log"))
