# SPDX-License-Identifier: GPL-3.0-or-later
"""What a softphone hears: silence, a tone of which frequency, or other sound, with its level, as it changes."""

import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pjsua2 as pj
from numpy.typing import NDArray

_FRAME_MS = 20
_WINDOW_MS = 100
_SILENT_DBFS = -55.0
_PURE = 0.85
_SILENT_WINDOWS = 3

Emit = Callable[..., None]


def dbfs(samples: NDArray[np.int16]) -> float:
    """RMS in dBFS, -120 for digital silence."""
    power = float(np.mean((samples.astype(np.float64) / 32768) ** 2)) if len(samples) else 0.0
    return round(float(10 * np.log10(max(power, 1e-12))), 1)


def pitch(samples: NDArray[np.int16], rate: int) -> tuple[int, float]:
    """The strongest frequency in Hz, and its share of the power."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 4 * len(samples))) ** 2
    top = int(spectrum.argmax())
    near = spectrum[max(0, top - 10) : top + 11].sum()
    return round(top * rate / (4 * len(samples))), float(near / max(spectrum.sum(), 1.0))


class Ear(pj.AudioMediaPort):
    """Connected to one call. Says `heard` when what it hears becomes something else; keeps or writes all it hears."""

    def __init__(self, name: str, rate: int, emit: Emit, record: Path | None = None) -> None:
        super().__init__()
        self._rate = rate
        self._emit = emit
        self._frames: list[bytes] = []
        self._window: list[bytes] = []
        self._onset: int | None = None
        self._kind: tuple[str, int] = ("silence", 0)
        self._next: tuple[str, int] | None = None
        self._quiet = 0
        self._arrived = 0
        self._file: wave.Wave_write | None = None
        if record is not None:
            self._file = wave.open(str(record), "wb")  # noqa: SIM115 - closed with the call
            self._file.setparams((1, 2, rate, 0, "NONE", ""))
        form = pj.MediaFormatAudio()
        form.init(pj.PJMEDIA_FORMAT_PCM, rate, 1, _FRAME_MS * 1000, 16)
        self.createPort(name, form)

    def onFrameReceived(self, frame: Any) -> None:
        """A 20 ms frame of the far end, on PJMEDIA's clock thread."""
        data = bytes(frame.buf)
        self._arrived += bool(data)
        data = data or bytes(2 * self._rate * _FRAME_MS // 1000)  # nothing arrives while on hold: that is silence
        if self._onset is None and dbfs(np.frombuffer(data, "<i2")) > _SILENT_DBFS:
            self._onset = time.monotonic_ns()
        self._frames.append(data)
        self._window.append(data)
        if self._file is not None:
            self._file.writeframes(data)
        if len(self._window) * _FRAME_MS >= _WINDOW_MS:
            window, self._window = np.frombuffer(b"".join(self._window), "<i2"), []
            self._judge(window)
            if self._kind[0] == "silence":
                self._onset = None

    def _judge(self, window: NDArray[np.int16]) -> None:
        level = dbfs(window)
        kind = self._classify(window, level)
        if kind[0] == "silence":
            self._quiet += 1
            if self._quiet < _SILENT_WINDOWS:
                return
        else:
            self._quiet = 0
        # Sound after silence is said at once, a change from one sound to another when two windows agree.
        same = kind[0] == self._kind[0] and abs(kind[1] - self._kind[1]) <= 20
        sure = "silence" in (kind[0], self._kind[0]) or kind == self._next
        self._next = kind
        if not same and sure:
            self._kind = kind
            self._emit("heard", kind=kind[0], hz=kind[1], dbfs=level, since=self._onset or time.monotonic_ns())

    def _classify(self, window: NDArray[np.int16], level: float) -> tuple[str, int]:
        if level < _SILENT_DBFS:
            return "silence", 0
        hz, share = pitch(window, self._rate)
        return ("tone", hz) if share > _PURE else ("sound", 0)

    @property
    def place(self) -> int:
        """Where it is now, for `since`."""
        return len(self._frames)

    def since(self, place: int) -> dict[str, object]:
        """What everything since then sounded like: level, strongest frequency, its share in percent."""
        samples = np.frombuffer(b"".join(self._frames[place:]), "<i2")
        if not len(samples):
            return {"dbfs": -120.0, "hz": 0, "share": 0, "ms": 0}
        hz, share = pitch(samples, self._rate)
        return {"dbfs": dbfs(samples), "hz": hz, "share": round(100 * share), "ms": 1000 * len(samples) // self._rate}

    @property
    def heard_ms(self) -> int:
        """How much audio arrived at all, silence included."""
        return self._arrived * _FRAME_MS

    def close(self) -> None:
        """Finishes the recording file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
