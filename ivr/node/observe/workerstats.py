# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker tells the manager of itself with each beat."""

from collections.abc import Collection
from typing import Any

from ivr.calls.mediatally import MediaTally
from ivr.calls.session import Session
from ivr.calls.status import status


def worker_stats(sessions: Collection[Session], media: MediaTally) -> dict[str, Any]:
    """`calls`: how each stands (CallStatus); `lag_s`: unsealed audio by recording, in seconds; `media`: counters."""
    lags = [lag for session in sessions if (lag := session.hands.lag_s) is not None]
    return {
        "calls": [status(session).as_json() for session in sessions],
        "lag_s": [round(lag, 3) for lag in lags],
        "media": media.as_json(),
    }
