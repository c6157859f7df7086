# SPDX-License-Identifier: GPL-3.0-or-later
"""A line of the log that may be due thousands of times a second: the first of its kind, then one a while, counted."""

import logging
from collections.abc import Callable

EVERY_S = 10.0
MAX_KINDS = 100


class Seldom:
    """Owned by one thread. `clock` gives seconds."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float], every: float = EVERY_S) -> None:
        self._log = log
        self._clock = clock
        self._every = every
        self._kinds: dict[str, tuple[float, int]] = {}

    def error(self, kind: str, message: str) -> None:
        """Logs this, unless something of this kind was logged a short while ago: then it is counted."""
        if len(self._kinds) >= MAX_KINDS and kind not in self._kinds:
            self._kinds.clear()
        since, missed = self._kinds.get(kind, (-self._every, 0))
        now = self._clock()
        if since + self._every > now:
            self._kinds[kind] = since, missed + 1
            return
        self._kinds[kind] = now, 0
        self._log.error("%s%s", message, f" (and {missed} more since)" if missed else "")
