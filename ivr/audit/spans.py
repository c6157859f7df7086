# SPDX-License-Identifier: GPL-3.0-or-later
"""When samples may have been kept, by the replayed machine, and whether the spans that were logged lie within."""

from collections.abc import Iterable, Mapping
from typing import Any

from ivr.consent.effects import Effect, PauseRecording, ResumeRecording, StartRecording, StopRecording

TOLERANCE_MS = 40
"""PRODUCT.md, promise 4: at most 40 ms from the first packet of a key to the last sample kept."""
DRIFT = 5_000
"""A span is measured by the sound card's clock, a decision by the system's: they may part by 1/DRIFT (200 ppm)."""


class Kept:
    """The times, in ms of the call, in which the newest recorder might keep samples."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: list[tuple[int, int | None]] = []

    def follow(self, effects: Iterable[Effect], now_ms: int) -> None:
        """What the machine's effects open and close."""
        for effect in effects:
            match effect:
                case StartRecording():
                    self._spans = [(now_ms, None)]
                case ResumeRecording():
                    self._spans.append((now_ms, None))
                case PauseRecording() | StopRecording():
                    self.close(now_ms)

    def close(self, now_ms: int) -> None:
        """No sample from here on."""
        if self._spans and self._spans[-1][1] is None:
            self._spans[-1] = (self._spans[-1][0], now_ms)

    def stray(self, data: Mapping[str, Any]) -> str | None:
        """The first span of a `recording.stopped` that is not within one of these times, in words; None when all are.

        Raises ValueError for spans that are none.
        """
        for span in data["spans"]:
            if not (isinstance(span, list) and len(span) == 3 and all(type(n) is int and n >= 0 for n in span)):
                raise ValueError(f"{span!r} is no span: [first sample, samples, at_ms]")
            if type(data["rate"]) is not int or data["rate"] <= 0:
                raise ValueError(f"{data['rate']!r} is no sample rate")
            length = span[1] * 1000 // data["rate"]
            slack = TOLERANCE_MS + length // DRIFT
            if not self._within(span[2], span[2] + length, slack):
                return f"{length} ms from {span[2]} ms on, and samples might be kept {self}"
        return None

    def _within(self, start: int, end: int, slack: int) -> bool:
        return any(a - slack <= start and (b is None or end <= b + slack) for a, b in self._spans)

    def __str__(self) -> str:
        said = [f"{a} to {b} ms" if b is not None else f"from {a} ms on" for a, b in self._spans]
        return ", ".join(said) or "never"
