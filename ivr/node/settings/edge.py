# SPDX-License-Identifier: GPL-3.0-or-later
"""`edge`: the SIP proxy before the workers, or, as a front edge, before whole nodes. Used when pool.max is above 1."""

import re
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Annotated, Self

from annotated_types import Ge, Le, MinLen
from pydantic import AfterValidator, WithJsonSchema, model_validator

from ivr.flow.values import BesideFile
from ivr.flow.yamlfile import Node, Rules, rule_error
from ivr.node.settings.values import Port, no_repeats

LOCAL = "local"
"""The trunk that this machine itself is, where SIP listens on loopback alone and no trunk is named."""

_TRUNK_NAME = re.compile(r"[a-z][a-z0-9]*([.-][a-z0-9]+)*")
_SOCKET = re.compile(r"(?P<address>\[[^]]+\]|[^:\[\]]+)(:(?P<port>[0-9]{1,5}))?")
_HOST = re.compile(r"sip:(?P<place>(\[[^]]+\]|[^:\[\];]+)(:[0-9]{1,5})?)(;transport=(?P<transport>udp|tcp|tls))?")


class EdgeTransport(StrEnum):
    """How SIP messages travel between callers and the edge."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise rule_error(f"{text!r} is not an IP address", "an address such as 192.0.2.10 or 2001:db8::10") from None


def _network(text: str) -> str:
    try:
        network = ip_network(text)
    except ValueError:
        what = "an address such as 192.0.2.10, or a network such as 192.0.2.0/24 with no bits behind its mask"
        raise rule_error(f"{text!r} is no address and no network", what) from None
    return str(network[0]) if network.num_addresses == 1 else str(network)


def _trunk_name(text: str) -> str:
    if not _TRUNK_NAME.fullmatch(text) or len(text) > 60:
        raise rule_error(f"{text!r} is not a name of a trunk", "lower-case letters and digits, with . or - between")
    return text


def split_socket(text: str) -> tuple[str, int | None]:
    """`address`, `address:port` or `[v6]:port` in its parts. Raises a pydantic error."""
    match = _SOCKET.fullmatch(text) if text.count(":") < 2 or text.startswith("[") else None
    if match is None:
        raise rule_error(f"{text!r} is not an address with a port", "192.0.2.10, 192.0.2.10:5060 or [2001:db8::1]:5060")
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise rule_error(f"{port} is not a port", "1 to 65535")
    return _address(match["address"].strip("[]")), port


def _advertised(text: str) -> str:
    split_socket(text if text.count(":") < 2 or text.startswith("[") else f"[{text}]")
    return text


def split_host(text: str) -> tuple[str, int | None, EdgeTransport]:
    """Address, port and transport of a trunk's host. Raises a pydantic error."""
    match = _HOST.fullmatch(text)
    if match is None:
        what = "sip:192.0.2.20, sip:192.0.2.20:5080 or sip:[2001:db8::20];transport=tcp: the edge looks up no names"
        raise rule_error(f"{text!r} is not an address of a SIP server", what)
    return *split_socket(match["place"]), EdgeTransport(match["transport"] or "udp")


def _host(text: str) -> str:
    split_host(text)
    return text


_TEXT = WithJsonSchema({"type": "string"})
Address = Annotated[str, AfterValidator(_address), _TEXT]
Network = Annotated[str, AfterValidator(_network), _TEXT]
Advertised = Annotated[str, AfterValidator(_advertised), _TEXT]
TrunkName = Annotated[str, AfterValidator(_trunk_name), _TEXT]
TrunkHost = Annotated[str, AfterValidator(_host), WithJsonSchema({"type": "string", "pattern": "^sip:"})]


class Listen(Node):
    """An address on which callers reach the edge."""

    address: Address
    """An address of this machine, IPv4 or IPv6; not 0.0.0.0, for it is also written into messages."""
    port: Port = 5060
    """The port."""
    transports: Annotated[tuple[EdgeTransport, ...], MinLen(1)] = (EdgeTransport.UDP,)
    """udp, tcp and tls. TLS needs a port of its own, 5061 say, and `edge.tls`."""
    advertise: Advertised | None = None
    """The address, with its port if that is another one, under which callers see this one (behind NAT)."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        no_repeats(rules, "transports", self.transports)
        if ip_address(self.address).is_unspecified:
            rules.refuse("address", f"{self.address} cannot be written into a message", "one address of this machine")
        if EdgeTransport.TLS in self.transports and EdgeTransport.TCP in self.transports:
            rules.refuse(
                "transports", "tcp and tls cannot share a port", "tls in an entry of its own, on port 5061 say"
            )
        rules.done("Listen")
        return self


class Inside(Node):
    """Where the edge meets workers, or a front edge its nodes."""

    address: Address = "127.0.0.1"
    """Loopback, unless this is a front edge: then an address that the nodes reach."""
    port: Port = 5062
    """The port. Only known workers or nodes are heard on it."""


class Trunk(Node):
    """Where calls come from and go to: a carrier, a telephone system, a front edge."""

    name: TrunkName
    """Its name in counters and in flows: a bridge to sip:NUMBER@NAME goes to its hosts."""
    sources: tuple[Network, ...] = ()
    """The addresses and networks that it calls from. Whoever is in no trunk gets no answer at all."""
    port: Annotated[int, Ge(0), Le(65535)] = 0
    """The port that it sends from; 0 for any."""
    calls: Annotated[int, Ge(0)] = 1000
    """Calls at a time, both ways together; one more gets 503. With 0 nobody may call from there (403)."""
    rate: Annotated[int, Ge(1)] = 50
    """New calls a second from all of it; one more gets 503."""
    source_calls: Annotated[int, Ge(1)] | None = None
    """Calls at a time from any one of its addresses. Default: as many as `calls`."""
    source_rate: Annotated[int, Ge(1)] | None = None
    """New calls a second from any one of its addresses. Default: as many as `rate`."""
    hosts: tuple[TrunkHost, ...] = ()
    """Where calls to it are sent: sip:ADDRESS:PORT, with ;transport=tcp or tls; the first that answers."""
    front: bool = False
    """Whether it is an edge of our own, whose call ids are kept."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        if not self.sources and not self.hosts:
            rules.refuse("name", f"trunk {self.name} has neither sources nor hosts", "one of both at least")
        if self.front and not self.sources:
            rules.refuse("front", "a front edge without sources", "the address that it sends from")
        for name, values in (("sources", self.sources), ("hosts", self.hosts)):
            for index, value in enumerate(values):
                if value in values[:index]:
                    rules.refuse((name, index), f"{value} is listed twice", "each one once")
        rules.done("Trunk")
        return self


class NodeEdge(Node):
    """A node, as a front edge sees it: the edge of another machine."""

    name: TrunkName
    """Its name in `ivr edge status` and in counters."""
    address: Address
    """The address that the node's edge listens on."""
    port: Port = 5060
    """Its port."""
    calls: Annotated[int, Ge(1)]
    """Calls at a time: twice the workers of that node."""


class EdgeTls(Node):
    """Certificates for TLS."""

    certificate: BesideFile
    """The certificate with its chain (PEM); read at the start and by `ivr edge reload-certificates`."""
    key: BesideFile
    """Its private key (PEM, without a passphrase)."""
    trust: BesideFile | None = None
    """Root certificates (PEM) that a trunk's host must have its own from. Default: no TLS to trunks."""


class Edge(Node):
    """The SIP proxy (Kamailio) before the workers."""

    listen: tuple[Listen, ...] = ()
    """Where callers reach it. Default: `sip.address` and `sip.port`, with `sip.transports`."""
    inside: Inside = Inside()
    """Where it meets workers or nodes."""
    trunks: tuple[Trunk, ...] = ()
    """Who may call, and where calls can be sent. Default: this machine alone, if only loopback is listened on."""
    agents: tuple[Network, ...] = ()
    """Addresses that calls may be sent to, beside those in flows and trunks; they cannot place calls here."""
    nodes: tuple[NodeEdge, ...] = ()
    """The nodes behind a front edge, which then has no workers. Default: none; calls go to this machine's workers."""
    tls: EdgeTls | None = None
    """Certificates. Default: no TLS."""
    processes: Annotated[int, Ge(1), Le(64)] = 2
    """Processes for each address that is listened on."""
    memory: Annotated[int, Ge(32), Le(4096)] = 128
    """Memory that the processes share at most, in megabytes; taken as it is used."""
    user: Annotated[str, MinLen(1)] | None = None
    """Whom `ivr edge run` becomes when root starts it. Default: the first there is of ivr-edge, kamailio, nobody."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        _names(rules, self)
        _sockets(rules, self)
        _overlaps(rules, self)
        tls = any(EdgeTransport.TLS in listen.transports for listen in self.listen)
        if tls and self.tls is None:
            rules.refuse("listen", "TLS without a certificate", "edge.tls with certificate and key")
        for index, trunk in enumerate(self.trunks):
            for place, host in enumerate(trunk.hosts):
                if split_host(host)[2] is EdgeTransport.TLS and not (tls and self.tls and self.tls.trust):
                    what = "TLS to a host whose certificate nothing could check"
                    rules.refuse(("trunks", index, "hosts", place), what, "edge.tls.trust, and tls in listen")
        rules.done("Edge")
        return self


def _names(rules: Rules, edge: Edge) -> None:
    for kind, names in (("trunks", [t.name for t in edge.trunks]), ("nodes", [n.name for n in edge.nodes])):
        for index, name in enumerate(names):
            if name in names[:index]:
                rules.refuse((kind, index, "name"), f"{name} is the name of another one", "a name of its own")


def _sockets(rules: Rules, edge: Edge) -> None:
    taken: set[tuple[str, int]] = {(edge.inside.address, edge.inside.port)}
    for index, listen in enumerate(edge.listen):
        place = (listen.address, listen.port)
        if place in taken:
            rules.refuse(("listen", index), f"port {listen.port} of {listen.address} is taken above", "another one")
        taken.add(place)
    nodes: set[tuple[str, int]] = set()
    for index, node in enumerate(edge.nodes):
        if (node.address, node.port) in nodes | taken:
            rules.refuse(("nodes", index), f"port {node.port} of {node.address} is another one's", "each node its own")
        nodes.add((node.address, node.port))


def _overlaps(rules: Rules, edge: Edge) -> None:
    """Two trunks with one address are told apart by their ports alone, or by which network is the smaller one."""
    seen: dict[tuple[str, int], str] = {}
    for index, trunk in enumerate(edge.trunks):
        for place, source in enumerate(trunk.sources):
            other = seen.setdefault((source, trunk.port), trunk.name)
            if other != trunk.name:
                what = f"{source} is a source of {other} already"
                rules.refuse(("trunks", index, "sources", place), what, "each source in one trunk")


def edge_fits(rules: Rules, edge: Edge, sip: tuple[str, int], workers: range) -> None:
    """Notes what of the edge is at odds with `sip.address` and `sip.port` and the workers' SIP ports."""
    if edge.nodes:
        if ip_address(edge.inside.address).is_loopback != ip_address(edge.nodes[0].address).is_loopback:
            what = f"nodes cannot answer {edge.inside.address}"
            rules.refuse(("edge", "inside", "address"), what, "the address of this machine that the nodes reach")
        return
    if not ip_address(edge.inside.address).is_loopback:
        what = f"workers listen on loopback alone, and {edge.inside.address} is not"
        rules.refuse(("edge", "inside", "address"), what, "127.0.0.1")
    if not edge.listen and sip[0] == "0.0.0.0":
        rules.refuse(("edge",), "sip.address 0.0.0.0 cannot be written into a message", "edge.listen, by address")
    if not edge.listen and sip[1] == edge.inside.port:
        rules.refuse(("edge", "inside", "port"), f"port {sip[1]} is sip.port already", "another one")
    if edge.inside.port in workers:
        what = f"port {edge.inside.port} is among the workers' SIP ports {workers.start} to {workers.stop - 1}"
        rules.refuse(("edge", "inside", "port"), what, "another one")
    for index, listen in enumerate(edge.listen):
        if listen.port in workers and ip_address(listen.address).is_loopback:
            rules.refuse(("edge", "listen", index), f"port {listen.port} is a worker's SIP port", "another one")
