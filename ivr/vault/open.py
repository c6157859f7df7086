# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a recording with the officer's identity. No check here needs the log; comparing with it is `audit`'s."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pyrage import x25519

from ivr.vault.errors import CannotOpen, Damaged, from_os_error
from ivr.vault.sealing import open_recording_key, open_sealed
from ivr.vault.segments import Audio, Label, SegmentFact, Span, decode, segment_name
from ivr.vault.store import RecordingStore

FULL_SCALE = 32768


@dataclass(frozen=True, slots=True)
class Level:
    """One channel's loudness in dB below full scale (0 is the loudest); None when it is digital silence."""

    peak_db: float | None
    rms_db: float | None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a recording holds, read to its end: both levels, and where it was paused (between the spans)."""

    rate: int
    samples: int
    spans: tuple[Span, ...]
    caller: Level
    agent: Level


def check_contiguous(facts: Sequence[SegmentFact], where: object) -> None:
    """Raise Damaged, naming the place, unless the segments are numbered 0, 1, … and each begins where the last ended.

    That the end is missing cannot be seen here: only the log knows how many there were.
    """
    end = 0
    for number, fact in enumerate(facts):
        if fact.n != number:
            raise Damaged(f"segment {number} is missing (the next one is {fact.n})", where)
        if fact.start != end:
            raise Damaged(f"segment {number} begins at sample {fact.start}, the one before ended at {end}", where)
        end = fact.end


class OpenRecording:
    """A recording whose key has been opened. Holds the key: drop it when done."""

    def __init__(self, store: RecordingStore, call: str, recording: str, officer: Sequence[x25519.Identity]) -> None:
        """Raises NotFound, CannotOpen (another's identity, or an erased recording), Damaged (a segment is missing)."""
        self.stored = store.stored(call, recording)
        self._store = store
        key_file = store.key_file(recording)
        try:
            sealed = key_file.read_bytes()
        except FileNotFoundError as error:
            raise CannotOpen("its key is not in the key store", recording, "it was erased; nothing opens it") from error
        except OSError as error:
            raise from_os_error(error, "read", key_file) from error
        self._key = open_recording_key(sealed, officer, key_file)
        check_contiguous(self.stored.segments, recording)

    @cached_property
    def rate(self) -> int:
        """Samples a second. Raises Damaged for a recording without any."""
        for _, _, rate in self._read():
            return rate
        raise Damaged("holds no audio", self.stored.recording)

    def segments(self) -> Iterator[tuple[SegmentFact, Audio]]:
        """Each segment's (n, 2) int16 samples, in order. Raises CannotOpen or Damaged at the first bad one."""
        for label, audio, _ in self._read():
            yield self.stored.segments[label.n], audio

    def audio(self) -> Audio:
        """All of it, shape (samples, 2)."""
        return np.concatenate([np.empty((0, 2), np.int16), *(audio for _, audio in self.segments())])

    def contents(self) -> Contents:
        """Read everything: proves that every segment opens and decodes, and measures both channels."""
        spans: list[Span] = []
        peak, power, rate = np.zeros(2), np.zeros(2), 0
        for label, audio, rate in self._read():
            _extend(spans, label, rate)
            samples = audio.astype(np.float64)
            peak = np.maximum(peak, np.abs(samples).max(axis=0, initial=0))
            power += np.square(samples).sum(axis=0)
        total = self.stored.samples
        rms = np.sqrt(power / max(1, total))
        caller, agent = (Level(_db(float(p)), _db(float(r))) for p, r in zip(peak, rms, strict=True))
        return Contents(rate, total, tuple(spans), caller, agent)

    def _read(self) -> Iterator[tuple[Label, Audio, int]]:
        first_rate = 0
        folder = self._store.folder(self.stored.call, self.stored.recording)
        for fact in self.stored.segments:
            path = folder / segment_name(fact.n, fact.start, fact.samples)
            sealed = self._store.read(self.stored.call, self.stored.recording, fact)
            audio, rate, label = decode(open_sealed(sealed, self._key, path), path)
            expected = (self.stored.call, self.stored.recording, fact.n, fact.start, fact.samples)
            if (label.call, label.recording, label.n, label.start, label.samples) != expected:
                raise Damaged("was renamed or moved: sealed inside is another call, recording or place", path)
            first_rate = first_rate or rate
            if rate != first_rate:
                raise Damaged(f"is at {rate} Hz, the recording at {first_rate}", path)
            yield label, audio, rate


def _extend(spans: list[Span], label: Label, rate: int) -> None:
    if spans:
        last = spans[-1]
        if label.at_ms == last.at_ms + (label.start - last.start) * 1000 // rate:
            spans[-1] = Span(last.at_ms, last.start, last.samples + label.samples)
            return
    spans.append(Span(label.at_ms, label.start, label.samples))


def _db(value: float) -> float | None:
    return round(20 * float(np.log10(value / FULL_SCALE)), 1) if value else None


def blocks(opened: OpenRecording) -> Iterable[bytes]:
    """The recording as little-endian interleaved PCM, a block a segment."""
    return (audio.astype("<i2").tobytes() for _, audio in opened.segments())
