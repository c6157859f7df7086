# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands to a running edge: which workers or nodes get calls, and what becomes of the calls of one that died."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from ivr.node.edge.model import EdgePlan
from ivr.node.edge.render import WORKERS
from ivr.node.edge.rpc import EdgeRefused, Rpc
from ivr.node.settings import Settings

_INBOUND, _OUTBOUND = "wrk", "out"
_IN_ROTATION, _LEAVING = 1, 2
"""What the edge's table of slots has: it says `drained` to a front edge when workers are there and leaving."""
CLEAR_S = 0.3
"""A worker answers in milliseconds; its own retransmission of the answer comes after 0.5 s."""
_AT_ONCE = 4
"""What a worker has at most, calls and legs. A node has more, and the queues of datagram sockets are short."""
_ANSWERED = 3
"""The first state of Kamailio's dialogs in which BYE is allowed."""


class PlaceState(StrEnum):
    """How the edge treats a worker or node."""

    ACTIVE = "active"
    """It gets calls."""
    DRAINING = "draining"
    """It gets none; those it has go on."""
    OUT = "out"
    """It gets none: there is no worker in this slot, or it was removed."""
    SILENT = "silent"
    """It gets none because it did not answer. It is asked every second, and gets calls when it answers."""
    DRAINED = "drained"
    """A node that gets none and answers why: it was drained there. It gets calls again when it says so."""
    REFUSING = "refusing"
    """A node that gets none and answers that it takes none, although nobody drained it: it has no worker."""


_SAID = {"drained": PlaceState.DRAINED, "refusing": PlaceState.REFUSING}
_FLAGS = {"A": PlaceState.ACTIVE, "D": PlaceState.DRAINING, "T": PlaceState.ACTIVE}


@dataclass(frozen=True, slots=True)
class PlaceStatus:
    """One worker or node: its state and the calls that came in to it."""

    name: str
    uri: str
    state: PlaceState
    calls: int


@dataclass(frozen=True, slots=True)
class EdgeStatus:
    """What the edge knows. `run` is another after every start of it: states must then be set again."""

    run: str
    places: tuple[PlaceStatus, ...]
    hosts: tuple[PlaceStatus, ...] = ()
    """Hosts of trunks."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """Counted since this run began, by name; `name:trunk` where it is a trunk's."""
    front: bool = False
    """Whether its places are nodes."""

    def of(self, name: str) -> PlaceStatus:
        """Raises KeyError."""
        for place in self.places:
            if place.name == name:
                return place
        raise KeyError(name)


class EdgeControl:
    """A client of the edge's RPC socket. `places` are the URIs of workers or nodes by name.

    Every command raises EdgeUnavailable when no edge answers, and KeyError for an unknown name.
    """

    def __init__(self, rpc: Path, places: Mapping[str, str], *, front: bool = False, timeout: float = 1.0) -> None:
        self._rpc = Rpc(rpc, timeout)
        self._places = dict(places)
        self._front = front

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """For the edge of this server."""
        plan = EdgePlan.of(settings)
        return cls(plan.rpc, {place.name: place.uri for place in plan.places}, front=plan.front)

    async def enable(self, name: str) -> None:
        """From now on it gets calls."""
        if self._front:
            await self._undrain(name)
        await self._set(name, "ap" if self._front else "a")
        await self._told(name, _IN_ROTATION)

    async def drain(self, name: str) -> None:
        """No new calls; those that are up go on."""
        if self._front:  # it must still be asked whether it lives, and disabled ones are not
            await self._rpc.call("htable.seti", "drained", self._places[name], 1)
            return
        await self._set(name, "d")
        await self._told(name, _LEAVING)

    async def remove(self, name: str) -> int:
        """Out of rotation at once, and BYE to both sides of each of its calls and outbound legs. How many were ended.

        A worker comes back by `enable` alone; a node also when it answers pings again.
        """
        uri = self._places[name]
        # Out first, so that no call goes there any more; all at once, because its callers hear silence.
        _, out, *found = await self._rpc.calls(
            ("htable.delete", "drained" if self._front else "slot", uri),
            ("dispatcher.set_state", "ip" if self._front else "i", WORKERS, uri),
            *(("dlg.profile_list", profile, uri) for profile in (_INBOUND, _OUTBOUND)),
        )
        for result in (out, *found):
            if isinstance(result, EdgeRefused):
                raise result
        dialogs = [dialog for listed in found for dialog in _many(listed)]
        ended = 0
        for first in range(0, len(dialogs), _AT_ONCE):
            results = await self._rpc.calls(*(_end(dialog) for dialog in dialogs[first : first + _AT_ONCE]))
            ended += sum(not isinstance(result, EdgeRefused) for result in results)  # or it ended by itself in between
        return ended

    async def run(self) -> str:
        """The mark of this run of the edge: another one after each start. One quick command."""
        item = await self._rpc.call("htable.get", "stat", "run")
        return str(item["item"]["value"])

    async def status(self) -> EdgeStatus:
        """Everything; one command for each place."""
        counters = await self._counters()
        run = counters.pop("run", "")
        counters.pop("told", None)
        drained = await self._drained()
        places: list[PlaceStatus] = []
        hosts: list[PlaceStatus] = []
        for number, record in await self._destinations():
            uri, name = str(record["URI"]), str(record.get("ATTRS", {}).get("DUID", ""))
            calls = await self._size(_INBOUND, uri) if number == WORKERS else 0
            state = PlaceState.DRAINING if uri in drained else _state(str(record["FLAGS"]))
            if self._front and number == WORKERS and state is PlaceState.SILENT:
                state = await self._said(uri)
            status = PlaceStatus(name, uri, state, calls)
            (places if number == WORKERS else hosts).append(status)
        order = {name: place for place, name in enumerate(self._places)}
        places.sort(key=lambda place: order.get(place.name, len(order)))
        return EdgeStatus(
            str(run), tuple(places), tuple(hosts), {name: int(n) for name, n in counters.items()}, self._front
        )

    async def hold(self) -> None:
        """Leaves new calls unanswered for HELD_S, and returns when those that came before have had their answer.

        At most after CLEAR_S: a telephone may ring for a minute, and its answer is passed on by the next edge.
        """
        await self._rpc.call("htable.seti", "door", "held", 1)
        until = time.monotonic() + CLEAR_S
        while time.monotonic() < until:
            active = await self._rpc.call("dlg.stats_active")
            if not int(active["starting"]) + int(active["connecting"]):
                return
            await asyncio.sleep(CLEAR_S / 20)

    async def reload_tls(self) -> None:
        """Connections from now on get the certificate that is on disk; those that are up keep theirs."""
        await self._rpc.call("tls.reload")

    def close(self) -> None:
        """Lets the socket go."""
        self._rpc.close()

    # -- commands of Kamailio ------------------------------------------------------------------------------------

    async def _told(self, name: str, as_what: int) -> None:
        """From now on there is a worker in this slot, and it may place calls; before, a call from there gets 403.

        And the edge knows its workers: before, it leaves new calls unanswered, and they are tried again.
        """
        if not self._front:
            await self._rpc.call("htable.seti", "slot", self._places[name], as_what)
            await self._rpc.call("htable.seti", "stat", "told", 1)

    async def _set(self, name: str, state: str) -> None:
        await self._rpc.call("dispatcher.set_state", state, WORKERS, self._places[name])

    async def _undrain(self, name: str) -> None:
        try:
            await self._rpc.call("htable.delete", "drained", self._places[name])
        except EdgeRefused:
            return  # it was not in there

    async def _drained(self) -> set[str]:
        if not self._front:
            return set()
        dumped = await self._rpc.call("htable.dump", "drained")
        return {str(slot["name"]) for entry in dumped for slot in entry["slot"]}

    async def _said(self, uri: str) -> PlaceState:
        """Of a node that gets no calls: what it answers when it is asked, or that it does not answer."""
        try:
            item = await self._rpc.call("htable.get", "said", _host_and_port(uri))
        except EdgeRefused:
            return PlaceState.SILENT
        return _SAID.get(str(item["item"]["value"]), PlaceState.SILENT)

    async def _size(self, profile: str, uri: str) -> int:
        return int(await self._rpc.call("dlg.profile_get_size", profile, uri))

    async def _destinations(self) -> list[tuple[int, dict[str, Any]]]:
        listed = await self._rpc.call("dispatcher.list")
        return [
            (int(record["SET"]["ID"]), target["DEST"])
            for record in listed["RECORDS"]
            for target in record["SET"]["TARGETS"]
        ]

    async def _counters(self) -> dict[str, Any]:
        dumped = await self._rpc.call("htable.dump", "stat")
        return {str(slot["name"]): slot["value"] for entry in dumped for slot in entry["slot"]}


def _many(listed: Any) -> list[dict[str, Any]]:
    """Kamailio lists one dialog as itself, and none as nothing."""
    return listed if isinstance(listed, list) else [listed] if listed else []


def _end(dialog: dict[str, Any]) -> tuple[str | int, ...]:
    """The command that ends it; a leg that still rings is cancelled."""
    if int(dialog["state"]) < _ANSWERED:
        return "tm.cancel", str(dialog["call-id"]), str(dialog["caller"]["cseq"])
    return "dlg.end_dlg", int(dialog["h_entry"]), int(dialog["h_id"])


def _host_and_port(uri: str) -> str:
    """As the edge's tables have it: without the brackets of IPv6."""
    return uri.removeprefix("sip:").replace("[", "").replace("]", "")


def _state(flags: str) -> PlaceState:
    """Kamailio's flags: A active, I inactive, D disabled, T trying; then P when it is asked whether it answers."""
    if flags.startswith("I"):
        return PlaceState.SILENT if "P" in flags else PlaceState.OUT
    return _FLAGS.get(flags[:1], PlaceState.OUT)
