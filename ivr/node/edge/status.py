# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge's status as a table for people and as plain values for programs."""

from collections.abc import Mapping

from rich import box
from rich.table import Table

from ivr.node.edge.control import EdgeStatus, PlaceStatus

COUNTERS: dict[str, str] = {
    "calls": "calls that came in, without those too fast or from a closed trunk",
    "outbound": "legs that workers placed",
    "full": "refused: no worker was free (503)",
    "failovers": "a worker was full, draining or silent, and another was tried",
    "silent": "a worker did not answer within 1.5 s",
    "late": "a worker answered after its call had gone to another; dropped",
    "passed_on": "an answer to a request that the edge before this one had sent; passed on",
    "host_failovers": "a host of a trunk did not take the call, and the next was tried",
    "silent_hosts": "a host of a trunk did not answer within 2 s",
    "trunk_down": "refused: no host of that trunk answers (503)",
    "refused_calls": "refused: too many calls of that trunk (503)",
    "refused_source_calls": "refused: too many calls from one address of that trunk (503)",
    "refused_rate": "refused: too many new calls a second from that trunk (503)",
    "refused_source_rate": "refused: too many new calls a second from one address of that trunk (503)",
    "refused_closed": "refused: that trunk may place no calls (403)",
    "refused_agent": "refused: an agent's address placed a call (403)",
    "refused_target": "refused: a worker rang somebody who is no agent and no trunk (403)",
    "refused_transport": "refused: the next hop's transport is not listened on (503)",
    "refused_name": "refused: an in-dialog request to a name; no names are looked up (478)",
    "refused_slot": "refused: a call from the port of a slot that has no worker (403)",
    "refused_hop": "refused: a worker's in-dialog request to an address that nobody named (403)",
    "refused_local": "not sent: somebody had the edge send a request over its control socket",
    "refused_relay": "refused: an in-dialog request that would have gone to somebody else (404)",
    "refused_ipv6_media": "refused: the caller has IPv6 audio only (488)",
    "strangers": "packets of strangers, requests or replies, dropped unread",
    "scanners": "requests of known scanners from known addresses, dropped unanswered",
    "malformed": "requests that were no SIP (400)",
    "downs": "a node or host stopped answering pings; not one that was drained",
}
"""Every counter and what it counts. Those of a trunk are named `counter:trunk`."""


def as_json(status: EdgeStatus) -> dict[str, object]:
    """Plain values under stable names; every counter is there, with 0 where nothing was counted."""
    totals: dict[str, int] = dict.fromkeys(COUNTERS, 0)
    by_trunk: dict[str, dict[str, int]] = {}
    for name, value in status.counters.items():
        counter, _, trunk = name.partition(":")
        totals[counter] = totals.get(counter, 0) + value
        if trunk:
            by_trunk.setdefault(trunk, {})[counter] = value
    return {
        "run": status.run,
        "workers": [_place(place) for place in status.places],
        "hosts": [_place(host) for host in status.hosts],
        "counters": totals,
        "trunks": by_trunk,
    }


def _place(place: PlaceStatus) -> Mapping[str, object]:
    return {"name": place.name, "uri": place.uri, "state": place.state.value, "calls": place.calls}


def tables(status: EdgeStatus, *, all_places: bool = False) -> list[Table]:
    """Workers or nodes (those that are out only when asked for), hosts of trunks, counters above 0."""
    places = Table("node" if status.front else "worker", "state", "calls", box=box.SIMPLE)
    hidden = 0
    for place in status.places:
        if place.state.value == "out" and not place.calls and not all_places:
            hidden += 1
            continue
        places.add_row(place.name, place.state.value, str(place.calls))
    if hidden:
        places.caption = f"{hidden} more places are out: --all shows them"
    made = [places]
    if status.hosts:
        hosts = Table("host of a trunk", "address", "state", box=box.SIMPLE)
        for host in status.hosts:
            hosts.add_row(host.name, host.uri, host.state.value)
        made.append(hosts)
    counters = Table("counter", "trunk", "", "meaning", box=box.SIMPLE)
    for name, value in sorted(status.counters.items()):
        counter, _, trunk = name.partition(":")
        counters.add_row(counter, trunk, str(value), COUNTERS.get(counter, ""))
    made.append(counters)
    return made
