# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a call as SVG: stretches over the waveform of both channels, told apart by pattern and word.

Colours are attributes for whoever prints, and classes that the page's style sheet overrides, for dark screens.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ivr.export.markup import Markup, el, join
from ivr.export.stretches import Kind, Lanes, Mark, Stretch
from ivr.export.waveform import Waveform

WIDTH, LEFT, RIGHT = 1000, 92, 14
PLOT = WIDTH - LEFT - RIGHT
_FLAGS, _BAR, _WAVE, _SPACE = 30, 22, 76, 8
_LETTER = 7.3
"""About the width of a letter at 11 units; a word is only written into a stretch that has room for it."""

COLOURS: Mapping[str, str] = {
    "ink": "#1b2533",
    "muted": "#566273",
    "line": "#cfd6df",
    "paper": "#ffffff",
    "band": "#f3f5f8",
    "waiting": "#9aa5b4",
    "allowed": "#1f7a54",
    "blocked": "#a86a10",
    "refused": "#b0332d",
    "withdrawn": "#b0332d",
    "kept": "#2459a6",
    "erased": "#7b4397",
    "notice": "#566273",
    "talk": "#9aa5b4",
}

_PATTERNS: Mapping[Kind, str] = {
    Kind.WAITING: "M2 2h1.4v1.4h-1.4zM6 6h1.4v1.4h-1.4z",
    Kind.BLOCKED: "M0 0L8 8M8 0L0 8",
    Kind.REFUSED: "M-2 2L2 -2M0 8L8 0M6 10L10 6",
    Kind.WITHDRAWN: "M-2 6L2 10M0 0L8 8M6 -2L10 2",
    Kind.ERASED: "M0 2H8M0 6H8",
}
_SOLID = frozenset({Kind.ALLOWED, Kind.KEPT, Kind.NOTICE, Kind.TALK})


def picture(lanes: Lanes, waveform: Waveform | None, words: Mapping[str, str]) -> Markup:
    """The SVG. Its table of stretches says the same in words."""
    return _Picture(lanes, words).draw(waveform)


def swatch(kind: Kind) -> Markup:
    """A stretch as it looks in the picture, for the legend."""
    ident = f"s-{kind}"
    return el(
        "svg",
        *_pattern(kind, ident),
        _box(kind, 0.5, 0.5, 33, 15, ident),
        viewBox="0 0 34 16",
        width=34,
        height=16,
        aria_hidden="true",
        class_="swatch",
    )


class _Picture:
    def __init__(self, lanes: Lanes, words: Mapping[str, str]) -> None:
        self._lanes, self._words = lanes, words
        self._parts: list[Markup] = []
        self._y = float(_FLAGS)

    def draw(self, waveform: Waveform | None) -> Markup:
        lanes, w = self._lanes, self._words
        self._bars(w["lane_notice"], lanes.notice)
        self._bars(w["lane_talk"], lanes.talk)
        self._bars(w["lane_consent"], lanes.consent)
        if waveform is None:
            self._bars(w["lane_recorded"], lanes.recorded)
        else:
            self._wave(w["lane_caller"], waveform.caller)
            self._wave(w["lane_agent"], waveform.agent)
        bottom = self._y
        marks = list(self._marks(bottom))
        axis = list(self._axis(bottom))
        height = bottom + 24
        return el(
            "svg",
            el("title", w["picture"], id="picture-title"),
            el("desc", w["picture_alt"], id="picture-desc"),
            el("defs", *(part for kind in _PATTERNS for part in _pattern(kind, f"p-{kind}"))),
            *axis,
            *self._parts,
            *marks,
            viewBox=f"0 0 {WIDTH} {height:.0f}",
            width=WIDTH,
            height=height,
            role="img",
            aria_labelledby="picture-title picture-desc",
            class_="picture",
        )

    def _x(self, at_ms: float) -> float:
        return LEFT + PLOT * min(1.0, max(0.0, at_ms / self._lanes.end_ms))

    def _label(self, text: str, height: float) -> None:
        y = self._y + height / 2 + 4
        self._parts.append(_text(text, LEFT - 10, y, "muted", 12, anchor="end"))

    def _bars(self, label: str, stretches: Sequence[Stretch]) -> None:
        self._label(label, _BAR)
        self._parts.append(
            el("rect", x=LEFT, y=self._y, width=PLOT, height=_BAR, fill=COLOURS["band"], class_="f-band")
        )
        for stretch in stretches:
            self._stretch(stretch, self._y, _BAR)
        self._y += _BAR + _SPACE

    def _stretch(self, stretch: Stretch, y: float, height: float) -> None:
        x, end = self._x(stretch.from_ms), self._x(stretch.to_ms)
        width = max(1.5, end - x)
        self._parts.append(_box(stretch.kind, x, y, width, height, f"p-{stretch.kind}"))
        word = self._words.get(f"short_{stretch.kind}")
        if word is not None and width > len(word) * _LETTER + 14:
            self._parts.append(_tag(word, x + 5, y + height / 2, stretch.kind))

    def _wave(self, label: str, peaks: npt.NDArray[np.float64]) -> None:
        self._label(label, _WAVE)
        y, middle = self._y, self._y + _WAVE / 2
        self._parts.append(el("rect", x=LEFT, y=y, width=PLOT, height=_WAVE, fill=COLOURS["band"], class_="f-band"))
        for stretch in self._lanes.recorded:
            self._parts.append(_ground(stretch, self._x(stretch.from_ms), self._x(stretch.to_ms), y))
        path = _wave_path(peaks, middle, _WAVE / 2 - 4)
        if path:
            self._parts.append(el("path", d=path, fill=COLOURS["kept"], class_="f-kept"))
        for stretch in self._lanes.recorded:
            word = self._words.get(f"short_{stretch.kind}")
            room = self._x(stretch.to_ms) - self._x(stretch.from_ms)
            if word is not None and room > len(word) * _LETTER + 14:
                self._parts.append(_tag(word, self._x(stretch.from_ms) + 5, y + 11, stretch.kind))
        self._y += _WAVE + _SPACE

    def _marks(self, bottom: float) -> Iterable[Markup]:
        """A line and a numbered flag for each moment; flags that would touch are moved to the right."""
        free = 0.0
        for number, mark in enumerate(self._lanes.marks, 1):
            x = self._x(mark.at_ms)
            flag = min(max(x, free), WIDTH - RIGHT - 8.0)
            free = flag + 18
            yield _mark(mark, number, x, flag, bottom)

    def _axis(self, bottom: float) -> Iterable[Markup]:
        step = _tick_ms(self._lanes.end_ms)
        for at_ms in range(0, self._lanes.end_ms + 1, step):
            x = self._x(at_ms)
            yield el("path", d=f"M{x:.1f} {_FLAGS}V{bottom:.0f}", stroke=COLOURS["line"], class_="s-line")
            yield _text(clock(at_ms), x, bottom + 14, "muted", 11, anchor="start" if at_ms == 0 else "middle")


def clock(at_ms: int, *, fine: bool = False) -> str:
    """`1:02` or `1:02.345`; hours only when there are any."""
    minutes, rest = divmod(at_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{head}:{rest // 1000:02}" + (f".{rest % 1000:03}" if fine else "")


def _tick_ms(end_ms: int) -> int:
    for step in (1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000):
        if end_ms / step <= 10:
            return step
    return 3_600_000


def _pattern(kind: Kind, ident: str) -> Iterable[Markup]:
    if kind not in _PATTERNS:
        return
    colour = COLOURS[kind]
    yield el(
        "pattern",
        el("rect", width=8, height=8, fill=COLOURS["paper"], class_="f-paper"),
        el("path", d=_PATTERNS[kind], stroke=colour, stroke_width=1.5, fill="none", class_=f"s-{kind}"),
        id=ident,
        width=8,
        height=8,
        patternUnits="userSpaceOnUse",
    )


def _box(kind: Kind, x: float, y: float, width: float, height: float, ident: str) -> Markup:
    colour = COLOURS.get(kind, COLOURS["muted"])
    if kind is Kind.GAP:
        return el(
            "rect", x=x, y=y, width=width, height=height, fill=COLOURS["paper"], stroke=COLOURS["muted"],
            stroke_dasharray="4 3", class_="f-paper s-muted",
        )  # fmt: skip
    if kind in _SOLID:
        return el("rect", x=x, y=y, width=width, height=height, fill=colour, class_=f"f-{kind}")
    return el(
        "rect", x=x, y=y, width=width, height=height, fill=f"url(#{ident})", stroke=colour, class_=f"s-{kind}"
    )  # fmt: skip


def _ground(stretch: Stretch, x: float, end: float, y: float) -> Markup:
    """What lies behind a waveform."""
    width = max(1.5, end - x)
    if stretch.kind is Kind.KEPT:
        return el(
            "rect", x=x, y=y, width=width, height=_WAVE, fill=COLOURS["kept"], fill_opacity="0.12",
            class_="f-kept",
        )  # fmt: skip
    return _box(stretch.kind, x, y, width, _WAVE, f"p-{stretch.kind}")


def _wave_path(peaks: npt.NDArray[np.float64], middle: float, half: float) -> str:
    """One closed outline for each run of columns that have samples."""
    there = np.flatnonzero(~np.isnan(peaks))
    if not len(there):
        return ""
    column = PLOT / len(peaks)
    # The square root shows speech, which is mostly quiet, without hiding where it was loud.
    heights = np.sqrt(np.nan_to_num(peaks)) * half
    parts = []
    for run in np.split(there, np.flatnonzero(np.diff(there) > 1) + 1):
        xs = LEFT + run * column
        up = [f"{x:.1f} {middle - max(0.5, h):.1f}" for x, h in zip(xs, heights[run], strict=True)]
        down = [f"{x:.1f} {middle + max(0.5, h):.1f}" for x, h in zip(xs, heights[run], strict=True)]
        last = LEFT + (run[-1] + 1) * column
        edge = max(0.5, float(heights[run[-1]]))
        turn = [f"{last:.1f} {middle - edge:.1f}", f"{last:.1f} {middle + edge:.1f}"]
        parts.append("M" + "L".join([*up, *turn, *reversed(down)]) + "Z")
    return "".join(parts)


def _tag(word: str, x: float, middle: float, kind: Kind) -> Markup:
    """A word on a plate, legible over any pattern."""
    width = len(word) * _LETTER + 8
    colour = "ink" if kind in (Kind.GAP, Kind.WAITING) else kind.value
    return join(
        el("rect", x=x, y=middle - 7.5, width=width, height=15, rx=3, fill=COLOURS["paper"], class_="f-paper"),
        _text(word, x + 4, middle + 4, colour, 11, bold=True),
    )


def _mark(mark: Mark, number: int, x: float, flag: float, bottom: float) -> Markup:
    return el(
        "g",
        el("title", f"{number}: {clock(mark.at_ms, fine=True)} {mark.what}"),
        el(
            "path",
            d=f"M{flag:.1f} 18L{x:.1f} {_FLAGS - 2}V{bottom - _SPACE:.0f}",
            stroke=COLOURS["ink"],
            stroke_width=1.2,
            fill="none",
            class_="s-ink",
        ),
        el("circle", cx=flag, cy=10, r=8, fill=COLOURS["ink"], class_="f-ink"),
        _text(str(number), flag, 14, "paper", 11, anchor="middle", bold=True),
    )


def _text(
    text: str, x: float, y: float, colour: str, size: int, *, anchor: str = "start", bold: bool = False
) -> Markup:
    return el(
        "text", text, x=x, y=y, font_size=size, font_family="sans-serif", fill=COLOURS[colour], text_anchor=anchor,
        font_weight="600" if bold else None, class_=f"f-{colour}",
    )  # fmt: skip
