# SPDX-License-Identifier: GPL-3.0-or-later
"""Who hangs. Pure: time is passed in."""

LATE_S = 0.5
"""When the manager itself looks so much later than it meant to, it cannot tell who was silent and who was not heard."""


class Vigil:
    """Tells silence of a worker from deafness of the manager, which may have been stopped or starved itself."""

    def __init__(self, now: float, interval_s: float) -> None:
        self._interval = interval_s
        self._due = now + interval_s
        self._deaf_until = 0.0

    def look(self, now: float) -> None:
        """To be called every `interval_s`, before `silent_s`."""
        if now - self._due > LATE_S:
            self._deaf_until = now
        self._due = now + self._interval

    def silent_s(self, now: float, alive_at: float) -> float:
        """For how long a worker, last known to be alive at `alive_at`, can be blamed for saying nothing."""
        return now - max(alive_at, self._deaf_until)
