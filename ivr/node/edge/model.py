# SPDX-License-Identifier: GPL-3.0-or-later
"""What the edge is to be, worked out from the settings and the flows: sockets, destinations, trunks, agents."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Self

from ivr.flow.load import FlowSet
from ivr.flow.verbs import Bridge
from ivr.node.settings import LogFormat, LogLevel, LogPersonal, Settings
from ivr.node.settings.edge import LOCAL, EdgeTls, EdgeTransport, Listen, Trunk, split_host, split_socket

RUN = Path("run/edge")
"""Where, in the server's folder, the generated configuration and the RPC socket are."""
RPC = "rpc.sock"

GRACE_S = 60
"""How much longer than a worker the edge waits before it ends a call by itself."""

_TARGET = re.compile(r"(?P<scheme>sips?):(?:[^@]*@)?(?P<host>\[[^]]+\]|[^:;]+)(?::(?P<port>\d+))?(?P<params>;.*)?")


def hostport(address: str, port: int) -> str:
    """`192.0.2.1:5060` or `[2001:db8::1]:5060`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass(frozen=True, slots=True)
class Socket:
    """An address that Kamailio listens on. `advertise` is what it writes into messages instead, or None."""

    name: str
    transport: EdgeTransport
    address: str
    port: int
    advertise: str | None = None

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.address

    @property
    def seen_as(self) -> tuple[str, int]:
        """Address and port that callers know."""
        if self.advertise is None:
            return self.address, self.port
        text = self.advertise
        address, port = split_socket(text if text.count(":") < 2 or text.startswith("[") else f"[{text}]")
        return address, port or self.port


@dataclass(frozen=True, slots=True)
class Place:
    """A worker or a node: where new calls may be sent. `calls` at a time at most."""

    name: str
    address: str
    port: int
    calls: int

    @property
    def uri(self) -> str:
        return f"sip:{hostport(self.address, self.port)}"


@dataclass(frozen=True, slots=True)
class TargetHost:
    """A host that a flow sends calls to and that is no trunk. `port` 0: any."""

    flow: str
    uri: str
    host: str
    port: int
    transport: EdgeTransport


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """Everything that the configuration is rendered from."""

    folder: Path
    sockets: tuple[Socket, ...]
    inside: Socket
    places: tuple[Place, ...]
    front: bool
    trunks: tuple[Trunk, ...]
    agents: tuple[str, ...]
    targets: tuple[TargetHost, ...]
    tls: EdgeTls | None
    processes: int
    memory: int
    user: str | None
    max_call_s: int
    level: LogLevel
    format: LogFormat
    personal: LogPersonal

    @classmethod
    def of(cls, settings: Settings, flows: FlowSet | None = None) -> Self:
        """`flows` is what tells agents' addresses; without it, only those in the settings are known."""
        edge = settings.edge
        sockets = tuple(_sockets(edge.listen or _default_listen(settings)))
        targets = tuple(_targets(flows, {trunk.name for trunk in edge.trunks})) if flows else ()
        return cls(
            folder=settings.folder / RUN,
            sockets=sockets,
            inside=Socket("int", EdgeTransport.UDP, edge.inside.address, edge.inside.port),
            places=_nodes(settings) if edge.nodes else _workers(settings),
            front=bool(edge.nodes),
            trunks=edge.trunks or _local(sockets),
            agents=tuple(_agents(edge.agents, edge.trunks, targets)),
            targets=targets,
            tls=edge.tls,
            processes=edge.processes,
            memory=edge.memory,
            user=edge.user,
            max_call_s=settings.limits.max_call_time.ms // 1000 + GRACE_S,
            level=settings.log.level,
            format=settings.log.format,
            personal=settings.log.personal,
        )

    @property
    def rpc(self) -> Path:
        """The Unix datagram socket for JSON-RPC."""
        return self.folder / RPC

    @property
    def uses(self) -> frozenset[EdgeTransport]:
        """The transports that are listened on."""
        return frozenset(socket.transport for socket in self.sockets)


def behind_edge(settings: Settings) -> tuple[str, str]:
    """Of a worker: the proxy that its requests go to first, and the domain of its own address. Both empty without an
    edge before it. The domain is what callers know: the worker's own place is nobody's business."""
    if not settings.pool.edge:
        return "", ""
    plan = EdgePlan.of(settings)
    address, port = plan.sockets[0].seen_as
    domain = hostport(address, port) if port != 5060 else hostport(address, port).removesuffix(":5060")
    return f"sip:{hostport(plan.inside.address, plan.inside.port)};lr", domain


def _default_listen(settings: Settings) -> tuple[Listen, ...]:
    transports = tuple(EdgeTransport(transport.value) for transport in settings.sip.transports)
    return (Listen.model_construct(address=settings.sip.address, port=settings.sip.port, transports=transports),)


def _sockets(listen: Iterable[Listen]) -> Iterable[Socket]:
    for number, entry in enumerate(listen):
        for transport in entry.transports:
            yield Socket(f"pub{number}{transport}", transport, entry.address, entry.port, entry.advertise)


def _workers(settings: Settings) -> tuple[Place, ...]:
    """All slots, whether there is a worker in them or not: the list never changes while the edge runs."""
    pool = settings.pool
    return tuple(Place(f"w{n}", "127.0.0.1", pool.sip_port + n, settings.limits.calls) for n in range(pool.max))


def _nodes(settings: Settings) -> tuple[Place, ...]:
    return tuple(Place(node.name, node.address, node.port, node.calls) for node in settings.edge.nodes)


def _local(sockets: tuple[Socket, ...]) -> tuple[Trunk, ...]:
    """Where only this machine can call, it may."""
    if not all(ip_address(socket.address).is_loopback for socket in sockets):
        return ()
    return (Trunk(name=LOCAL, sources=("127.0.0.0/8", "::1")),)


def _targets(flows: FlowSet, trunks: set[str]) -> Iterable[TargetHost]:
    """What flows ring that is no trunk, each once."""
    seen: set[TargetHost] = set()
    for flow in flows.flows:
        for step in (step for steps in flow.sections.values() for step in steps):
            for uri in step.targets if isinstance(step, Bridge) else ():
                host = target_host(flow.name, str(uri))
                if host.host not in trunks and host not in seen:
                    seen.add(host)
                    yield host


def target_host(flow: str, uri: str) -> TargetHost:
    """A bridge target in its parts; the flow's own check has seen to its shape."""
    match = _TARGET.fullmatch(uri)
    if match is None:
        return TargetHost(flow, uri, "", 0, EdgeTransport.UDP)
    params = dict(part.partition("=")[::2] for part in (match["params"] or "").lower().split(";"))
    named = params.get("transport", "tls" if match["scheme"] == "sips" else "udp")
    transport = EdgeTransport(named) if named in list(EdgeTransport) else EdgeTransport.UDP
    return TargetHost(flow, uri, match["host"].strip("[]").lower(), int(match["port"] or 0), transport)


def is_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is written as, or None when it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _agents(named: Iterable[str], trunks: Iterable[Trunk], targets: Iterable[TargetHost]) -> list[str]:
    """Networks that calls may be sent to: named ones, hosts of trunks, and what flows ring; sorted, each once."""
    networks = {ip_network(text) for text in named}
    networks |= {ip_network(split_host(host)[0]) for trunk in trunks for host in trunk.hosts}
    networks |= {ip_network(address) for target in targets if (address := is_address(target.host))}
    return [str(network) for network in sorted(networks, key=lambda n: (n.version, -n.prefixlen, int(n[0])))]
