# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool of workers: how many, where, and when one is replaced."""

from pathlib import Path
from typing import Annotated, Any, Self

from annotated_types import Ge, Le
from pydantic import model_validator

from ivr.flow.duration import Duration
from ivr.flow.values import BesideFile
from ivr.flow.yamlfile import Node, Rules, rule_error

RTP_PORTS = 16
"""RTP ports of one worker beside others: two bridged calls take eight; as many again for those that just ended."""


class Pool(Node):
    """The workers of this machine. A number alone is `max`."""

    max: Annotated[int, Ge(1), Le(1000)] = 1
    """The most workers. With 1, the worker answers on the SIP port itself; with more, an edge stands before them."""
    min_spare: Annotated[int, Ge(0), Le(1000)] = 1
    """How many workers there are beyond those that the calls of the moment need, up to `max`."""
    sip_port: Annotated[int, Ge(1024), Le(65535)] = 15000
    """The first of the workers' SIP ports on 127.0.0.1, one a worker. Only with more than one worker."""
    idle_time: Duration = Duration(60_000)
    """How long more workers than needed are kept."""
    recycle_calls: Annotated[int, Ge(1)] = 1000
    """After so many calls a worker is replaced, when it has none."""
    recycle_growth: Annotated[int, Ge(1)] = 64
    """When a worker has grown by so many megabytes since its first call, it is replaced once it has none."""
    heartbeat: Duration = Duration(2_000)
    """A worker that gives no sign of life for so long is killed and replaced."""
    control: BesideFile = Path("run/pool/control.sock")
    """The Unix socket for `ivr drain`, `ivr restart` and the like; locks of the workers' places are beside it."""

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        # A mapping, so that the paths find their folder.
        if isinstance(value, bool):
            raise rule_error(f"`pool` cannot be {str(value).lower()}", "how many workers, or a mapping")
        return {"max": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        if self.sip_port + self.max > 65536:
            rules.refuse("sip_port", f"{self.max} ports from {self.sip_port} on end past 65535", "a lower one")
        if not 1_500 <= self.heartbeat.ms <= 60_000:
            rules.refuse("heartbeat", f"a heartbeat of {self.heartbeat}", "between 1500ms and 1 min")
        if self.idle_time.ms < 1_000:
            rules.refuse("idle_time", f"an idle time of {self.idle_time}", "at least 1s")
        rules.done("Pool")
        return self

    @property
    def edge(self) -> bool:
        """Whether an edge stands before the workers."""
        return self.max > 1


def ports_fit(rules: Rules, pool: Pool, sip_port: int, rtp_first: int, rtp_count: int) -> None:
    """Notes what of the workers' ports overlaps or is missing; for the settings as a whole."""
    if not pool.edge:
        return
    first, last = pool.sip_port, pool.sip_port + pool.max - 1
    if rtp_count < RTP_PORTS * pool.max:
        what = f"{rtp_count} RTP ports are too few for {pool.max} workers with {RTP_PORTS} each"
        rules.refuse(("media", "port_range"), what, f"at least {RTP_PORTS * pool.max}")
    if first <= sip_port <= last:
        what = f"port {sip_port} is among the workers' SIP ports {first} to {last}"
        rules.refuse(("sip", "port"), what, "another, or another pool.sip_port")
    if first < rtp_first + rtp_count and rtp_first <= last:
        what = f"the workers' SIP ports {first} to {last} overlap the RTP ports {rtp_first} to "
        rules.refuse(("pool", "sip_port"), what + str(rtp_first + rtp_count - 1), "another")
