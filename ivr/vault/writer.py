# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a recording: audio in, sealed segments out. Nothing here can be built without a verified permit.

On the way in, samples wait in a `Tail`; the newest 300 ms are held back so that a withdrawal can still
remove what was said after the key went down. Older samples go to the `Sealer`, which encodes, seals and writes them.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivr.ledger.permit import VerifiedPermit
from ivr.vault.errors import VaultClosed, VaultError, VaultTooSlow
from ivr.vault.sealer import Sealer
from ivr.vault.segments import MAX_SEGMENT_MS, Audio, SegmentFact, Span
from ivr.vault.store import Erasure, RecordingStore
from ivr.vault.tail import Tail

HOLD_BACK_MS = 300
"""The newest audio, kept unsealed for `truncate`. A key's way here takes some ms; a busy loop adds to it."""

SEAL_AT_MS = 400
"""When so much is unsealed, all but the hold-back is sealed: with what comes until the next drain it is below 2 s."""

MAX_BACKLOG_MS = 4000
"""Audio that may wait for a stalled disk before the recording is given up."""

_INT16 = np.dtype(np.int16)


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """What was kept. `error` is why it ended early; `erasure` is set when it was destroyed (then nothing was kept)."""

    recording: str
    call: str
    rate: int
    samples: int
    segments: tuple[SegmentFact, ...]
    spans: tuple[Span, ...]
    reason: str
    error: VaultError | None = None
    erasure: Erasure | None = None


class RecordingWriter:
    """One recording of one call. All methods are for one thread (the event loop's); none of them waits for the disk.

    `opened` gives the recording's public key (age1…) once key and folder are durable, or fails with the VaultError.
    `on_error` is called once, with the first error, on whichever thread met it (use `loop.call_soon_threadsafe`); from
    then on nothing is kept and `write` raises that error. A party that the permit does not name is kept as silence.
    """

    def __init__(
        self,
        permit: VerifiedPermit,
        store: RecordingStore,
        rate: int,
        *,
        at_ms: int = 0,
        on_error: Callable[[VaultError], None] | None = None,
    ) -> None:
        """`at_ms`: the call's time of the first sample that will be written.

        Raises TypeError without a VerifiedPermit, VaultError for a rate that no codec has.
        """
        if type(permit) is not VerifiedPermit:
            raise TypeError(f"a recording needs a VerifiedPermit, not {type(permit).__name__}")
        if not 8000 <= rate <= 48000:
            raise VaultError(f"{rate} Hz is no rate to record at", todo="expected 8000 to 48000")
        self.call, self.recording, self.rate = permit.call, permit.recording, rate
        self.opened: Future[str] = _uncancellable()
        self._caller_cleared = "caller" in permit.parties
        self._agent_cleared = any(party.startswith("agent") for party in permit.parties)
        in_samples = (ms * rate // 1000 for ms in (HOLD_BACK_MS, SEAL_AT_MS, MAX_BACKLOG_MS, MAX_SEGMENT_MS))
        self._hold_back, self._seal_at, self._backlog, self._longest = in_samples
        self._tail = Tail()
        self._spans: list[Span] = []  # closed ones; the open one begins at _span_start
        self._span_start: int | None = 0
        self._span_at_ms = at_ms
        self._limit: int | None = None  # of the open span: nothing from this sample on is kept
        self._cuts: list[int] = []  # the first sample of each segment handed to the sealer
        self._done: Future[RecordingSummary] | None = None
        self._sealer = Sealer(store, self.call, self.recording, rate, on_error)
        self._sealer.open(self._opened)

    def _opened(self, public: str | None, error: VaultError | None) -> None:
        if public is not None:
            self.opened.set_result(public)
        else:
            self.opened.set_exception(error or VaultClosed("the recording was not opened", self.recording))

    @property
    def written(self) -> int:
        """Samples accepted so far (after truncation): the position of the next sample."""
        return self._tail.end

    @property
    def sealed(self) -> tuple[SegmentFact, ...]:
        """The segments that are durable by now. A log entry holds about 350: a long recording is logged in parts."""
        return tuple(self._sealer.facts)

    @property
    def unsealed(self) -> int:
        """Samples that a crash now would lose."""
        return self._tail.samples + self._sealer.pending

    def write(self, caller: Audio, agent: Audio, *, newer: int = 0) -> None:
        """Add samples of both parties, shape (n,), int16, as they were heard at the same time. Any n.

        `newer`: samples that were heard after these and are still to come; they count as held back.

        While paused they are dropped. Raises ValueError for unequal or wrongly typed arrays, VaultClosed after
        `finish`, and the VaultError that ended the recording.
        """
        if caller.shape != agent.shape or caller.ndim != 1 or caller.dtype != _INT16 or agent.dtype != _INT16:
            raise ValueError(
                f"expected two int16 arrays of one length, not {caller.dtype}{caller.shape}, {agent.dtype}{agent.shape}"
            )
        # Before this block is counted: a long one is no sign of a slow disk.
        if self._sealer.pending > self._backlog:
            self._sealer.fail(VaultTooSlow("the storage does not keep up", self.recording, "check the disk"))
        self._refuse_if_over()
        if self._span_start is None:
            return
        # A copy: the caller's buffer may be a view of memory that the next frame overwrites.
        block = np.zeros((len(caller), 2), _INT16)
        if self._caller_cleared:
            block[:, 0] = caller
        if self._agent_cleared:
            block[:, 1] = agent
        self._tail.append(block if self._limit is None else block[: max(0, self._limit - self.written)])
        if self._tail.samples + newer >= self._seal_at:
            self._seal_down_to(max(0, self._hold_back - newer))

    def truncate(self, to_sample: int) -> int:
        """Keep nothing from sample `to_sample` on, written already or still to come; the number of samples kept so far.

        Exact within the newest 300 ms. Further back, whole sealed segments are removed: less may be kept, never more.
        Recording can go on with `pause` and `resume`. Works after an error too, when the summary says what is kept.
        """
        self._refuse_if_closed()
        limit = max(0, to_sample)
        if limit < self._tail.start:
            while self._cuts and limit < self._tail.start:
                self._tail.truncate(self._cuts.pop())
            limit = self._tail.start
            self._sealer.drop_from(limit)
        elif limit < self._tail.end:
            self._tail.truncate(limit)
        self._limit = limit if self._limit is None else min(self._limit, limit)
        self._spans = _trim(self._spans, self.written)
        if self._span_start is not None:
            self._span_start = min(self._span_start, self.written)
        return self.written

    def pause(self, to_sample: int | None = None) -> int:
        """Stop keeping audio, at `to_sample` if given, else with the newest, and seal it; the samples kept."""
        kept = self.written if to_sample is None else self.truncate(to_sample)
        self._refuse_if_over()
        self._seal_down_to(0)
        self._close_span()
        return kept

    def resume(self, at_ms: int) -> None:
        """Keep audio again; `at_ms` is the call's time of the next sample written. No effect when not paused."""
        self._refuse_if_over()
        if self._span_start is None:
            self._span_start, self._span_at_ms, self._limit = self.written, at_ms, None

    def finish(self, reason: str) -> Future[RecordingSummary]:
        """Seal the rest and close. After an error the summary comes too and says what was kept. Can be repeated."""
        if self._done is None:
            if self._sealer.error is None:
                self._seal_down_to(0)
            self._done = self._close(reason)
        return self._done

    def abort(self, *, erase: bool = True, reason: str = "erased") -> Future[RecordingSummary]:
        """End at once and forget what is not sealed; with `erase`, destroy key and files too, durably.

        The summary's `erasure` says what was destroyed; it is None, and `error` set, when the disk refused. After
        `finish` this changes nothing: `RecordingStore.erase` is for recordings that have ended.
        """
        if self._done is None:
            if erase:
                self._sealer.erase()
            self._done = self._close(reason)
        return self._done

    def _close(self, reason: str) -> Future[RecordingSummary]:
        done: Future[RecordingSummary] = _uncancellable()
        self._close_span()
        self._tail.clear()
        spans, sealer = list(self._spans), self._sealer

        def summarise() -> None:
            facts = tuple(sealer.facts)
            samples = facts[-1].end if facts else 0
            kept = tuple(_trim(spans, samples))
            done.set_result(
                RecordingSummary(
                    self.recording, self.call, self.rate, samples, facts, kept, reason, sealer.error, sealer.erasure
                )
            )

        sealer.then(summarise)
        return done

    def _seal_down_to(self, remaining: int) -> None:
        while self._tail.samples > remaining:
            start = self._tail.start
            audio = self._tail.cut(min(self._longest, self._tail.samples - remaining))
            span_start = self._span_start if self._span_start is not None else start
            at_ms = self._span_at_ms + (start - span_start) * 1000 // self.rate
            self._sealer.seal(len(self._cuts), start, audio, at_ms)
            self._cuts.append(start)

    def _close_span(self) -> None:
        if self._span_start is not None and self.written > self._span_start:
            self._spans.append(Span(self._span_at_ms, self._span_start, self.written - self._span_start))
        self._span_start = None

    def _refuse_if_closed(self) -> None:
        if self._done is not None:
            raise VaultClosed("the recording has ended", self.recording)

    def _refuse_if_over(self) -> None:
        self._refuse_if_closed()
        if (error := self._sealer.error) is not None:
            self._tail.clear()
            raise error


def _trim(spans: list[Span], end: int) -> list[Span]:
    return [Span(s.at_ms, s.start, min(s.samples, end - s.start)) for s in spans if s.start < end]


def _uncancellable() -> Future[Any]:
    # A coroutine that is cancelled while it waits must not cancel the disk's work it waited for.
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future
