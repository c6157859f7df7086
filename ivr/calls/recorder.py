# SPDX-License-Identifier: GPL-3.0-or-later
"""One recording of one call: two party recorders in memory, drained in step into sealed stereo segments.

Left is the caller, right the agent. Both run on the bridge's clock. Their offset is read to the sample once both run,
and watched from then on: what one has more at the start is dropped, what one lacks later is silence.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from ivr.calls.channel import Channel
from ivr.calls.drains import Drains
from ivr.ledger.permit import VerifiedPermit
from ivr.sip.leg import Leg
from ivr.sip.recorder import PartyRecorder, RecorderError
from ivr.vault.errors import VaultError
from ivr.vault.segments import SegmentFact
from ivr.vault.store import RecordingStore
from ivr.vault.writer import RecordingSummary, RecordingWriter

log = logging.getLogger(__name__)

FLUSH_S = 0.5
"""How long a closed recorder's last buffer is waited for; it takes one tick of the clock, 20 ms."""

STEADY_S = 0.003
"""Until ports are read again that were read while a tick was under way, or before both had a sample."""

REPORT_AFTER, HELD_BACK = 100, 10
"""Segments are named in the log once so many are closed; the newest few wait, a withdrawal may still reach them."""


class CallRecorder:
    """Exists only with a VerifiedPermit. For the event loop's thread; nothing here waits for the disk."""

    def __init__(
        self,
        permit: VerifiedPermit,
        store: RecordingStore,
        rate: int,
        now_ms: Callable[[], int],
        on_error: Callable[[str], None],
        on_sealed: Callable[[Sequence[SegmentFact]], None],
        drains: Drains,
        ticks: Callable[[], int],
    ) -> None:
        """Raises RecorderError or VaultError; then nothing is recorded. `on_error` is called on the loop, once.

        `ticks`: Endpoint.ticks.
        """
        self._ticks = ticks
        self._loop = asyncio.get_running_loop()
        self._now_ms = now_ms
        self._on_error = on_error
        self._on_sealed = on_sealed
        self._rate = rate
        self.permit = permit
        caller = PartyRecorder("caller")
        try:
            self._parties = (caller, PartyRecorder("agent"))
        except RecorderError:
            caller.free()
            raise
        self._channels = tuple(Channel(party) for party in self._parties)
        self._store = store
        self._writer: RecordingWriter | None = None
        self._drains = drains
        self._again: asyncio.TimerHandle | None = None
        self._pause_at: int | None = None
        self._paused = False
        self._closed = False
        self.reported = 0
        """Segments that `on_sealed` was told of; the summary's others are new."""
        self.recipient = ""

    async def start(self, caller: Leg, agent: Leg) -> None:
        """Connects both legs; returns when the key is durable and first samples of both were seen.

        Raises RecorderError or VaultError.
        """
        if self._closed:
            raise RecorderError("stopped before it was connected")
        for party, leg in zip(self._parties, (caller, agent), strict=True):
            party.connect(leg)
        await self._align()
        at_ms = self._now_ms() - self._ahead() * 1000 // self._rate
        self._writer = RecordingWriter(self.permit, self._store, self._rate, at_ms=at_ms, on_error=self._vault_error)
        self._drains.join(self._drain)
        self._drain()
        self.recipient = await asyncio.wrap_future(self._writer.opened)

    async def _align(self) -> None:
        """Waits for both recorders to run, then drops what one has more than the other."""
        left, right = self._parties
        while True:
            if self._closed:
                raise RecorderError("stopped before the first sample")
            ticks, at, other = self._ticks(), left.position(), right.position()
            if at and other and self._still(ticks):
                break
            await asyncio.sleep(STEADY_S)
        offset = at - other
        self._channels[0 if offset > 0 else 1].skip(abs(offset))

    def _still(self, ticks: int) -> bool:
        """Whether no tick was under way since `ticks` was read: each writes one port after the other."""
        return ticks % 2 == 0 and self._ticks() == ticks

    def _vault_error(self, error: VaultError) -> None:
        self._loop.call_soon_threadsafe(self._failed, error)

    def _failed(self, error: Exception) -> None:
        if not self._closed:
            log.error("recording %s: %s", self.permit.recording, error)
            self._stop_draining()
            self._on_error(type(error).__name__)

    # -- draining ------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Raises nothing: the worker's other recording is drained after this one, in the same turn."""
        self._cancel_again()
        try:
            if self._lags():
                # Read again before anything is taken: what is padded now stands nearest to where it was lost.
                self._again = self._loop.call_later(STEADY_S, self._drain)
                return
            self._take()
            self._report()
        except Exception as error:
            if not isinstance(error, VaultError):
                log.exception("recording %s: it cannot be read", self.permit.recording)
            self._failed(error)

    def _lags(self) -> bool:
        """Whether a tick was under way, so that both ports must be read once more.

        A port that lost ticks (re-INVITE, hold) is padded.
        """
        left, right = self._channels
        ticks = self._ticks()
        lag = left.ahead - right.ahead
        if not self._still(ticks):
            return True
        if lag:
            (right if lag > 0 else left).pad(abs(lag))
        return False

    def _take(self, upto: int | None = None) -> None:
        """Moves what both have flushed into the writer, at most `upto` samples."""
        if self._writer is None:
            return
        count = min(channel.ready for channel in self._channels)
        if upto is not None:
            count = min(count, upto)
        if count <= 0:
            return
        left, right = (channel.take(count) for channel in self._channels)
        if not self._paused:
            self._writer.write(left, right, newer=self._ahead())
            if self._pause_at is not None and self._writer.written >= self._pause_at:
                self._pause_now()

    @property
    def lag_s(self) -> float:
        """Audio that was heard and that a crash now would lose, in seconds."""
        return (self._ahead() + (self._writer.unsealed if self._writer else 0)) / self._rate

    def _ahead(self) -> int:
        """Samples that both have heard until now and that are not yet taken."""
        return min(channel.ahead for channel in self._channels)

    def _report(self) -> None:
        if self._writer is None:
            return
        sealed = self._writer.sealed[: -HELD_BACK or None]
        if len(sealed) - self.reported >= REPORT_AFTER:
            self._on_sealed(sealed[self.reported : self.reported + REPORT_AFTER])
            self.reported += REPORT_AFTER

    def _stop_draining(self) -> None:
        self._drains.leave(self._drain)
        self._cancel_again()

    def _cancel_again(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    # -- pause and end -------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """No sample after this moment is kept until `resume`. What is still in PJMEDIA's buffer comes in later.

        Raises VaultError when the recording has failed already.
        """
        if self._writer is not None and not self._paused and self._pause_at is None:
            self._pause_at = self._writer.written + self._ahead()
            self._writer.truncate(self._pause_at)
            self._take()

    def resume(self) -> None:
        """Samples from this moment on are kept again, both channels from the same one. Raises VaultError."""
        if self._writer is None or not (self._paused or self._pause_at is not None):
            return
        self._take()
        self._pause_now()
        for channel in self._channels:
            channel.skip(channel.ahead)
        self._writer.resume(self._now_ms())
        self._paused = False

    def _pause_now(self) -> None:
        if self._writer is not None and self._pause_at is not None:
            self._writer.pause()
            self._pause_at, self._paused = None, True

    def stop(self, reason: str, *, erase: bool) -> "Stopping":
        """Ends now: not a sample after this moment is kept, and with `erase` none at all."""
        self._closed = True
        ahead = self._ahead()
        self._stop_draining()
        for party in self._parties:
            party.close()
        return Stopping(self, reason, ahead, erase)

    async def close(self, reason: str, ahead: int, erase: bool) -> RecordingSummary | None:
        """The rest of `stop`, which may wait. Use Stopping."""
        writer = self._writer
        try:
            if writer is None:
                return None
            if erase:
                done = writer.abort(erase=True, reason=reason)
            else:
                await self._take_last(ahead)
                done = writer.finish(reason)
        finally:
            for party in self._parties:
                party.free()
        return await asyncio.wrap_future(done)

    async def _take_last(self, ahead: int) -> None:
        """The bridge lets a closed recorder go at its next tick; only then is the last of its buffer flushed."""
        deadline = self._loop.time() + FLUSH_S
        while min(channel.ready for channel in self._channels) < ahead:
            if self._loop.time() > deadline:
                log.warning("recording %s: PJMEDIA kept its last buffer", self.permit.recording)
                break
            await asyncio.sleep(0.005)
        try:
            self._take(upto=ahead)
        except VaultError:
            log.warning("recording %s: the last samples could not be kept", self.permit.recording)


class Stopping:
    """A recorder that has ended and whose last samples are on their way to the disk."""

    def __init__(self, recorder: CallRecorder, reason: str, ahead: int, erase: bool) -> None:
        self._recorder = recorder
        self._reason = reason
        self._ahead = ahead
        self._erase = erase

    async def wait(self) -> RecordingSummary | None:
        """What was kept, or None when not even the first sample had been seen."""
        return await self._recorder.close(self._reason, self._ahead, self._erase)
