# SPDX-License-Identifier: GPL-3.0-or-later
"""One recording of one call: two party recorders in memory, drained in step into sealed stereo segments.

Left is the caller, right the agent. Both run on the same clock; their offset is read to the sample once both run, and
what the earlier one has more is dropped, so that sample n of both was heard at the same time.
"""

import asyncio
import logging
from collections.abc import Callable

import numpy as np

from ivr.ledger.permit import VerifiedPermit
from ivr.sip.leg import Leg
from ivr.sip.recorder import PartyRecorder, RecorderError
from ivr.vault.errors import VaultError
from ivr.vault.store import RecordingStore
from ivr.vault.writer import RecordingSummary, RecordingWriter

log = logging.getLogger(__name__)

DRAIN_S = 0.1
"""How often memory is emptied: 1.6 s in the tail and 256 ms in PJMEDIA's buffer stay below 2 s with it."""

FLUSH_S = 0.5
"""How long a closed recorder's last buffer is waited for; it takes one tick of the clock, 20 ms."""


class CallRecorder:
    """Exists only with a VerifiedPermit. For the event loop's thread; nothing here waits for the disk."""

    def __init__(
        self,
        permit: VerifiedPermit,
        store: RecordingStore,
        rate: int,
        now_ms: Callable[[], int],
        on_error: Callable[[str], None],
    ) -> None:
        """Raises RecorderError or VaultError; then nothing is recorded. `on_error` is called on the loop, once."""
        self._loop = asyncio.get_running_loop()
        self._now_ms = now_ms
        self._on_error = on_error
        self._rate = rate
        self.permit = permit
        self._parties = (PartyRecorder("caller"), PartyRecorder("agent"))
        self._skip: list[int] | None = None
        self._drain: asyncio.TimerHandle | None = None
        self._keeping = True
        self._pause_at: int | None = None
        self._store = store
        self._writer: RecordingWriter | None = None
        self._closed = False
        self.recipient = ""

    async def start(self, caller: Leg, agent: Leg) -> None:
        """Connects both legs; returns when the key is durable and first samples of both were seen.

        Raises RecorderError or VaultError.
        """
        for party, leg in zip(self._parties, (caller, agent), strict=True):
            party.connect(leg)
        await self._first_samples()
        at_ms = self._now_ms() - min(p.position() for p in self._parties) * 1000 // self._rate
        self._writer = RecordingWriter(self.permit, self._store, self._rate, at_ms=at_ms, on_error=self._vault_error)
        self._tick()
        self.recipient = await asyncio.wrap_future(self._writer.opened)

    async def _first_samples(self) -> None:
        """Waits for both recorders to run and reads their offset: equal readings around the other make it exact."""
        left, right = self._parties
        while True:
            before, other, after = left.position(), right.position(), left.position()
            if before == after and before and other:
                least = min(before, other)
                self._skip = [before - least, other - least]
                return
            if self._closed:
                raise RecorderError("stopped before the first sample")
            await asyncio.sleep(0.005)

    def _vault_error(self, error: VaultError) -> None:
        self._loop.call_soon_threadsafe(self._failed, error)

    def _failed(self, error: Exception) -> None:
        if not self._closed:
            log.error("recording %s: %s", self.permit.recording, error)
            self._stop_draining()
            self._on_error(type(error).__name__)

    # -- draining ------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._drain = self._loop.call_later(DRAIN_S, self._tick)
        try:
            self._take()
        except VaultError as error:
            self._failed(error)

    def _take(self, upto: int | None = None) -> None:
        """Moves what both have flushed into the writer, at most `upto` samples."""
        if self._writer is None or self._skip is None:
            return
        for n, party in enumerate(self._parties):
            if self._skip[n] > 0:
                self._skip[n] -= len(party.read(self._skip[n]))
        count = min(party.flushed for party in self._parties)
        if any(self._skip) or count <= 0:
            return
        if upto is not None:
            count = min(count, upto)
        left, right = (party.read(count) for party in self._parties)
        if self._keeping and len(left) == len(right) == count:
            self._writer.write(left.astype(np.int16, copy=False), right.astype(np.int16, copy=False))
            if self._pause_at is not None and self._writer.written >= self._pause_at:
                self._pause_now()

    def _ahead(self) -> int:
        """Samples that both have heard until now and that are not yet taken."""
        skip = self._skip or [0, 0]
        return max(0, min(p.position() - p.taken - s for p, s in zip(self._parties, skip, strict=True)))

    def _stop_draining(self) -> None:
        if self._drain is not None:
            self._drain.cancel()
            self._drain = None

    # -- pause and end -------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """No sample after this moment is kept until `resume`. What is still in PJMEDIA's buffer comes in later."""
        if self._writer is not None and self._keeping and self._pause_at is None:
            self._pause_at = self._writer.written + self._ahead()
            self._writer.truncate(self._pause_at)
            self._take()

    def resume(self) -> None:
        """Samples from this moment on are kept again."""
        if self._writer is None or self._skip is None or (self._keeping and self._pause_at is None):
            return
        self._take()
        self._pause_now()
        ahead = self._ahead()
        self._skip = [skip + ahead for skip in self._skip]
        self._writer.resume(self._now_ms())
        self._keeping = True

    def _pause_now(self) -> None:
        if self._writer is not None and self._pause_at is not None:
            self._writer.pause()
            self._pause_at, self._keeping = None, False

    def stop(self, reason: str, *, erase: bool) -> "Stopping":
        """Ends now: not a sample after this moment is kept, and with `erase` none at all."""
        self._closed = True
        ahead = self._ahead()
        self._stop_draining()
        for party in self._parties:
            party.close()
        return Stopping(self, reason, ahead, erase)

    async def _close(self, reason: str, ahead: int, erase: bool) -> RecordingSummary | None:
        writer = self._writer
        if writer is None:
            self._free()
            return None
        if erase:
            done = writer.abort(erase=True, reason=reason)
        else:
            await self._take_last(ahead)
            done = writer.finish(reason)
        self._free()
        return await asyncio.wrap_future(done)

    async def _take_last(self, ahead: int) -> None:
        """The bridge lets a closed recorder go at its next tick; only then is the last of its buffer flushed."""
        deadline = self._loop.time() + FLUSH_S
        skip = self._skip or [0, 0]
        while any(p.flushed < ahead + s for p, s in zip(self._parties, skip, strict=True)):
            if self._loop.time() > deadline:
                log.warning("recording %s: PJMEDIA kept its last buffer", self.permit.recording)
                break
            await asyncio.sleep(0.005)
        try:
            self._take(upto=ahead)
        except VaultError:
            log.warning("recording %s: the last samples could not be kept", self.permit.recording)

    def _free(self) -> None:
        for party in self._parties:
            party.free()


class Stopping:
    """A recorder that has ended and whose last samples are on their way to the disk."""

    def __init__(self, recorder: CallRecorder, reason: str, ahead: int, erase: bool) -> None:
        self._recorder = recorder
        self._reason = reason
        self._ahead = ahead
        self._erase = erase

    async def wait(self) -> RecordingSummary | None:
        """What was kept, or None when not even the first sample had been seen."""
        return await self._recorder._close(self._reason, self._ahead, self._erase)
