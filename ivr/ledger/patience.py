# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices that a ledger whose connection is open has stopped answering: a hung process, or a disk that hangs.

One timer, which runs only while an answer is waited for or somebody wants to know. It counts its own rounds and not
the clock: a process that was itself stopped, or had no processor for a while, blames nobody else for it.
"""

import asyncio
from collections.abc import Callable, Hashable

ROUNDS = 3
"""So many rounds without any answer; a round is half of the limit, and the first one may have begun before the wait."""


class Patience:
    """`changed(False)` once nothing was answered for the limit (at most one and a half times), `changed(True)` at the
    next answer. An answer to anything counts: a ledger that is slow under load is not one that hangs.
    """

    def __init__(
        self, limit: float, waits: Callable[[], bool], ping: Callable[[], None], changed: Callable[[bool], None]
    ) -> None:
        """`limit` in seconds. `waits` says whether an answer is due, `ping` asks for one."""
        self._round = limit / 2
        self._waits = waits
        self._ping = ping
        self._changed = changed
        self._silent = 0
        self._attended: set[Hashable] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.lost = False
        """Whether it has not answered for too long."""

    def attend(self, who: Hashable) -> None:
        """From now on it is asked even when nobody has anything to say."""
        self._attended.add(who)
        self.sent()

    def leave(self, who: Hashable) -> None:
        """This one does not want to know any more; harmless when it never did."""
        self._attended.discard(who)

    def sent(self) -> None:
        """Something that wants an answer is on its way."""
        if self._timer is None:
            self._arm()

    def answered(self) -> None:
        """An answer, to whatever."""
        self._silent = 0
        if self.lost:
            self.lost = False
            self._changed(True)

    def begin_again(self) -> None:
        """There is a new connection: what the old one owed is no longer waited for."""
        self._silent = 0
        self.lost = False

    def close(self) -> None:
        """Nobody wants to know any more."""
        self._attended.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._round, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._waits():
            self._silent = 0
            if not self._attended:
                return
            self._ping()
        else:
            self._silent += 1
            if self._silent >= ROUNDS and not self.lost:
                self.lost = True
                self._changed(False)
        self._arm()
