# SPDX-License-Identifier: GPL-3.0-or-later
"""Listens for keys in the audio of a leg that has no other way to say them. Costs about 1 % of a core a leg."""

import logging
from collections.abc import Callable
from typing import Any

import pjsua2 as pj

log = logging.getLogger(__name__)

FRAME_MS = 20


class InbandPort(pj.AudioMediaPort):
    """A port on the conference bridge. `detect` gets int16 frames and gives keys; `heard` is called for each.

    Both run on PJMEDIA's clock thread: they must be quick and only hand over.
    """

    def __init__(self, rate: int, detect: Callable[[bytes], str], heard: Callable[[str], None]) -> None:
        super().__init__()
        self._detect = detect
        self._heard = heard
        form = pj.MediaFormatAudio()
        form.init(pj.PJMEDIA_FORMAT_PCM, rate, 1, FRAME_MS * 1000, 16)
        self.createPort("inband", form)

    def onFrameReceived(self, frame: Any) -> None:
        """One frame of the leg's audio, as the bridge hears it."""
        try:
            if frame.size:
                for key in self._detect(bytes(frame.buf)):
                    self._heard(key)
        except Exception:
            log.exception("in-band key detection")
