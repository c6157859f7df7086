# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays a WAV file to a leg, from C. End of file arrives on a media thread and is only handed over there."""

import logging
from collections.abc import Callable
from pathlib import Path

import pjsua2 as pj

log = logging.getLogger(__name__)


class Player(pj.AudioMediaPlayer):
    """One prompt. `on_end` is called on PJMEDIA's thread: it must only hand over, never destroy."""

    def __init__(self, path: Path, on_end: Callable[[], None], *, loop: bool = False) -> None:
        super().__init__()
        self._on_end = on_end
        self.createPlayer(str(path), 0 if loop else pj.PJMEDIA_FILE_NO_LOOP)

    def onEof2(self) -> None:
        """The file has been read and its last frame handed to the bridge."""
        try:
            self._on_end()
        except Exception:
            log.exception("end of file callback")
