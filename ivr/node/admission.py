# SPDX-License-Identifier: GPL-3.0-or-later
"""How many INVITEs a worker works off in a second.

PJSIP opens two sockets for an INVITE before we see it and frees their handles half a second after the call is gone; it
has 64 handles, and asking for one more aborts the process, with every call in it. So beyond a rate that no two calls
need, refusals are held back: while they wait they occupy PJSIP's four call slots, and it turns down what comes then by
itself, without a socket.
"""

RATE = 20.0
"""INVITEs a second that are worked off at once."""

BURST = 10.0
"""How many may come together."""

HOLD_S = 0.5
"""How long a refusal is held back beyond the rate."""


class Admission:
    """A token bucket. Time is passed in, in seconds, from a clock that never goes back."""

    def __init__(self, now: float) -> None:
        self._tokens = BURST
        self._at = now

    def admit(self, now: float) -> bool:
        """Whether one more INVITE may be worked off at once."""
        self._tokens = min(BURST, self._tokens + (now - self._at) * RATE)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
