# SPDX-License-Identifier: GPL-3.0-or-later
"""What RTP and RTCP tell of a leg that ends (RFC 3550 sections 6.4 and A.8)."""

import logging
from dataclasses import dataclass
from typing import Any

import pjsua2 as pj

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Quality:
    """Packets of the whole leg. `far_lost`: of ours, as the far end reported; `jitter_s`: the mean, seconds.

    `discarded`: came too late to be played.
    """

    received: int
    lost: int
    discarded: int
    far_lost: int
    jitter_s: float

    def __add__(self, other: "Quality") -> "Quality":
        """Of both streams of a leg that was renegotiated; the jitter that more packets had counts."""
        most = self if self.received >= other.received else other
        return Quality(
            self.received + other.received,
            self.lost + other.lost,
            self.discarded + other.discarded,
            self.far_lost + other.far_lost,
            most.jitter_s,
        )


def stream_quality(call: Any, index: int) -> Quality | None:
    """Of one stream of a call, while there still is one. For PJSIP's thread."""
    try:
        stat = call.getStreamStat(index)
    except pj.Error as error:
        log.debug("no figures of a stream: %s", error.reason)
        return None
    heard, told = stat.rtcp.rxStat, stat.rtcp.txStat
    return Quality(
        int(heard.pkt),
        int(heard.loss),
        int(heard.discard),
        int(told.loss) if told.updateCount else 0,
        float(heard.jitterUsec.mean) / 1_000_000,
    )
