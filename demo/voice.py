# SPDX-License-Identifier: GPL-3.0-or-later
"""What a softphone says: steady tones and in-band keys, played by PJMEDIA from memory."""

import os
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pjsua2 as pj
from numpy.typing import NDArray

Samples = NDArray[np.int16]

_KEYS = {
    key: (low, high)
    for low, row in ((697, "123A"), (770, "456B"), (852, "789C"), (941, "*0#D"))
    for high, key in zip((1209, 1336, 1477, 1633), row, strict=True)
}


def sine(hz: float, seconds: float, rate: int, dbfs: float) -> Samples:
    """A tone whose RMS is `dbfs`. Whole Hz and whole seconds loop without a click."""
    time = np.arange(round(seconds * rate)) / rate
    return (10 ** (dbfs / 20) * 2**0.5 * np.sin(2 * np.pi * hz * time) * 32767).astype(np.int16)


def key_tones(keys: str, ms: int, gap_ms: int, rate: int, dbfs: float = -12.0) -> Samples:
    """The keys as sound (ITU-T Q.23), each `ms` long with `gap_ms` of silence before it. Each tone's RMS is `dbfs`."""
    gap = np.zeros(rate * gap_ms // 1000, np.int16)
    parts: list[Samples] = []
    for key in keys:
        low, high = _KEYS[key.upper()]
        parts += [gap, sine(low, ms / 1000, rate, dbfs) + sine(high, ms / 1000, rate, dbfs)]
    return np.concatenate([*parts, gap])


class Voice(pj.AudioMediaPlayer):
    """Plays samples or a WAV file towards a call, once or in a loop. `on_end` comes on a media thread."""

    def __init__(self, source: Samples | Path, rate: int, *, loop: bool, on_end: Callable[[], None] | None = None):
        super().__init__()
        self._on_end = on_end
        option = 0 if loop else pj.PJMEDIA_FILE_NO_LOOP
        if isinstance(source, Path):
            self.createPlayer(str(source), option)
            return
        # PJMEDIA opens by name, so the samples get one for as long as it takes: the file itself is memory.
        descriptor = os.memfd_create("voice")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file, wave.open(file, "wb") as out:
                out.setparams((1, 2, rate, 0, "NONE", ""))
                out.writeframes(source.tobytes())
            with tempfile.TemporaryDirectory(prefix="softphone-") as folder:
                link = Path(folder) / "voice.wav"
                link.symlink_to(f"/proc/self/fd/{descriptor}")
                self.createPlayer(str(link), option)
        finally:
            os.close(descriptor)

    def onEof2(self) -> None:
        """The file has been read; nothing may be destroyed here."""
        if self._on_end is not None:
            self._on_end()


def stop(voice: Voice, sink: Any) -> None:
    """Stops a voice towards `sink`; harmless when the sink is gone."""
    try:
        voice.stopTransmit(sink)
    except pj.Error:
        return
