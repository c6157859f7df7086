# SPDX-License-Identifier: GPL-3.0-or-later
"""What one party hears from us: prompts one after the other, and a looped tone between them."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from ivr.sip.leg import Leg, LegGone
from ivr.sip.player import Player
from media.cache import PromptFile

log = logging.getLogger(__name__)

SETTLE_S = (0.0, 0.02, 0.04, 0.1)
"""How long after the file's end the last packet may still be on its way out of the bridge."""


@dataclass(frozen=True, slots=True)
class Played:
    """How far a prompt came. Samples are counted by RTP packets that left on this leg while it played."""

    samples_total: int
    samples_sent: int
    packets_sent: int | None
    packets_lost: int | None

    @property
    def whole(self) -> bool:
        """Whether the last sample was sent."""
        return self.samples_sent >= self.samples_total


class Playback:
    """One prompt that is playing. `done` gives how far it came, at its end, when stopped, or when the leg went."""

    def __init__(self, leg: Leg, file: PromptFile) -> None:
        self._leg = leg
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._player: Player | None = None
        self._before = 0
        self.done: asyncio.Future[Played] = self._loop.create_future()

    def start(self) -> None:
        """Raises LegGone when it cannot be played."""
        self._before = self._leg.traffic().sent
        self._player = self._leg.prepare(self._file.path, self._ended)
        self._leg.start(self._player)

    def _ended(self) -> None:
        self._settle(0)

    def _settle(self, attempt: int) -> None:
        if self.done.done():
            return
        played = self._played(at_end=True)
        if played.whole or attempt == len(SETTLE_S):
            self._finish(played)
        else:
            self._loop.call_later(SETTLE_S[attempt], self._settle, attempt + 1)

    def _played(self, *, at_end: bool) -> Played:
        total = self._file.samples
        try:
            traffic = self._leg.traffic()
        except LegGone:
            # The leg's counters went with it; the file's position is the most that can have been sent.
            position = int(self._player.getPos()) if self._player is not None else 0
            return Played(total, min(position, total - 1), None, None)
        packets = traffic.sent - self._before
        samples = min(total, packets * self._file.rate * traffic.packet_ms // 1000)
        if not at_end:
            # A notice cut in its last packet was not sent to its last sample, whatever the count says.
            samples = min(samples, total - 1)
        return Played(total, samples, packets, traffic.lost)

    def stop(self) -> Played:
        """Silence now. How far it came; harmless after the end.

        When the call ends from our side, whoever awaited `done` was cancelled, and `done` with them: that is no end.
        """
        if self.done.done() and not self.done.cancelled():
            return self.done.result()
        played = self._played(at_end=False)
        self._finish(played)
        return played

    def _finish(self, played: Played) -> None:
        if self._player is not None:
            self._leg.stop(self._player)
            self._player = None
        if not self.done.done():
            self.done.set_result(played)


class Speaker:
    """Serialises what a leg hears. `say` waits for what was asked for before it."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._turn = asyncio.Lock()
        self._tone: Player | None = None
        self._tone_file: PromptFile | None = None
        self._playing: Playback | None = None

    async def say(self, file: PromptFile, *, stop: "asyncio.Event | None" = None) -> Played | None:
        """Plays a prompt; ends early when `stop` is set. None when the leg went away before it began."""
        async with self._turn:
            if stop is not None and stop.is_set():
                return Played(file.samples, 0, 0, None)
            playback = self.begin(file)
            if playback is None:
                return None
            try:
                return await self._until(playback, stop)
            finally:
                playback.stop()
                self._playing = None
                self._resume_tone()

    async def _until(self, playback: Playback, stop: "asyncio.Event | None") -> Played:
        if stop is None:
            return await asyncio.shield(playback.done)
        stopped = asyncio.ensure_future(stop.wait())
        waits: list[asyncio.Future[Any]] = [stopped, playback.done]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        return playback.stop()

    def begin(self, file: PromptFile) -> Playback | None:
        """Starts a prompt at once, over whatever else plays; None when the leg is gone."""
        playback = Playback(self._leg, file)
        self._pause_tone()
        try:
            playback.start()
        except LegGone as error:
            log.debug("cannot play: %s", error)
            return None
        self._playing = playback
        return playback

    @property
    def turn(self) -> asyncio.Lock:
        """Held while something plays; whoever plays by `begin` takes it first."""
        return self._turn

    # -- a tone between prompts ----------------------------------------------------------------------------------

    def loop(self, file: PromptFile) -> None:
        """Loops a tone whenever nothing else plays, until `hush`."""
        self._tone_file = file
        if not self._turn.locked():
            self._resume_tone()

    def hush(self) -> None:
        """No tone any more."""
        self._pause_tone()
        self._tone_file = None

    def _resume_tone(self) -> None:
        if self._tone_file is not None and self._tone is None:
            try:
                self._tone = self._leg.play(self._tone_file.path, loop=True)
            except LegGone as error:
                log.debug("cannot play a tone: %s", error)

    def _pause_tone(self) -> None:
        if self._tone is not None:
            self._leg.stop(self._tone)
            self._tone = None

    def cut(self) -> None:
        """The leg is gone: whoever waits for the prompt that plays is told."""
        self._tone = self._tone_file = None
        if self._playing is not None:
            self._playing.stop()
