# SPDX-License-Identifier: GPL-3.0-or-later
"""`edge` in server.yaml: what is refused, with its line, and what follows from what is left out."""

from pathlib import Path

import pytest

from ivr.flow.place import FileError
from ivr.node.edge.model import EdgePlan, behind_edge, target_host
from ivr.node.settings import Settings


def load(folder: Path, text: str) -> Settings:
    (folder / "server.yaml").write_text(text)
    return Settings.load(folder)


POOL = "pool: {max: 4}\n"


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("edge: {trunks: [{name: a, sources: [192.0.2.300]}]}", "1:37", "'192.0.2.300' is no address and no network"),
        ("edge: {trunks: [{name: a, sources: [192.0.2.1/24]}]}", "1:37", "no bits behind its mask"),
        ("edge: {trunks: [{name: A!, sources: [192.0.2.1]}]}", "1:24", "'A!' is not a name of a trunk"),
        ("edge: {trunks: [{name: a}]}", "1:24", "neither sources nor hosts"),
        ("edge: {trunks: [{name: a, sources: [192.0.2.1], rate: 0}]}", "1:55", "greater than or equal to 1"),
        ("edge: {trunks: [{name: a, sources: [192.0.2.1, 192.0.2.1]}]}", "1:48", "192.0.2.1 is listed twice"),
        ("edge: {trunks: [{name: a, hosts: [sip:pbx.example]}]}", "1:35", "is not an IP address"),
        ("edge: {trunks: [{name: a, hosts: ['sip:192.0.2.1;transport=sctp']}]}", "1:35", "the edge looks up no names"),
        ("edge: {trunks: [{name: a, hosts: ['sip:192.0.2.1;transport=tls']}]}", "1:35", "nothing could check"),
        ("edge: {trunks: [{name: a, hosts: [sip:192.0.2.1], front: true}]}", "1:58", "a front edge without sources"),
        ("edge:\n  trunks:\n    - {name: a, sources: [192.0.2.1]}\n    - {name: a, sources: [192.0.2.2]}", "4:14",
         "a is the name of another one"),
        ("edge:\n  trunks:\n    - {name: a, sources: [192.0.2.1]}\n    - {name: b, sources: [192.0.2.1]}", "4:27",
         "192.0.2.1 is a source of a already"),
        ("edge: {listen: [{address: 192.0.2.1, transports: [tls]}]}", "1:8", "TLS without a certificate"),
        ("edge: {listen: [{address: 192.0.2.1, transports: [tcp, tls]}]}", "1:38", "tcp and tls cannot share a port"),
        ("edge: {listen: [{address: 0.0.0.0}]}", "1:27", "cannot be written into a message"),
        ("edge: {listen: [{address: 192.0.2.1}, {address: 192.0.2.1}]}", "1:39", "port 5060 of 192.0.2.1 is taken"),
        ("edge: {listen: [{address: 192.0.2.1, advertise: pbx.example}]}", "1:49", "is not an IP address"),
        ("edge: {listen: [{address: 127.0.0.1, port: 5062}]}", "1:17", "port 5062 of 127.0.0.1 is taken"),
        ("edge: {agents: [agents.example]}", "1:17", "is no address and no network"),
        ("edge: {tls: {certificate: c.pem}}", "1:8", "`key` is missing"),
        ("edge: {nodes: [{name: a, address: 192.0.2.1}]}", "1:16", "`calls` is missing"),
        ("edge: {nodes: [{name: a, address: 192.0.2.1, calls: 2}]}", "1:1", "nodes cannot answer 127.0.0.1"),
        ("edge: {nodes: [{name: a, address: 127.0.0.1, calls: 2}, {name: b, address: 127.0.0.1, calls: 2}]}", "1:57",
         "port 5060 of 127.0.0.1 is another one's"),
        (POOL + "media: {port_range: 64}\nedge: {inside: {address: 192.0.2.1}}", "3:26", "workers listen on loopback"),
        (POOL + "media: {port_range: 64}\nedge: {inside: {port: 15002}}", "3:23", "among the workers' SIP ports"),
        (POOL + "media: {port_range: 64}\nsip: {address: 0.0.0.0}", "1:1", "cannot be written into a message"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, text: str, place: str, what: str) -> None:
    with pytest.raises(FileError, match=what.replace("(", r"\(")) as caught:
        load(tmp_path, text)
    (mistake,) = caught.value.mistakes
    assert f"{mistake.line}:{mistake.column}" == place


def plan(folder: Path, text: str) -> EdgePlan:
    return EdgePlan.of(load(folder, text))


def test_by_default_it_listens_where_the_worker_did_and_lets_this_machine_call(tmp_path: Path) -> None:
    made = plan(tmp_path, POOL + "sip: {port: 5080, transports: [udp, tcp]}\n")
    assert [(s.transport, s.address, s.port) for s in made.sockets] == [
        ("udp", "127.0.0.1", 5080),
        ("tcp", "127.0.0.1", 5080),
    ]
    assert [(trunk.name, trunk.sources) for trunk in made.trunks] == [("local", ("127.0.0.0/8", "::1"))]
    assert [(place.name, place.uri, place.calls) for place in made.places] == [
        (f"w{n}", f"sip:127.0.0.1:{15000 + n}", 2) for n in range(4)
    ]


def test_where_others_can_reach_it_nobody_may_call_who_is_not_named(tmp_path: Path) -> None:
    made = plan(tmp_path, POOL + "sip: {address: 192.0.2.1}\n")
    assert made.trunks == ()


def test_a_worker_behind_an_edge_goes_through_it_and_bears_its_name(tmp_path: Path) -> None:
    assert behind_edge(load(tmp_path, "pool: 1")) == ("", "")
    text = POOL + "edge: {listen: [{address: 10.0.0.1, port: 5060, advertise: '198.51.100.7:5070'}]}"
    assert behind_edge(load(tmp_path, text)) == ("sip:127.0.0.1:5062;lr", "198.51.100.7:5070")
    text = POOL + "edge: {listen: [{address: 10.0.0.1}]}"
    assert behind_edge(load(tmp_path, text)) == ("sip:127.0.0.1:5062;lr", "10.0.0.1")


@pytest.mark.parametrize(
    ("uri", "host", "port", "transport"),
    [
        ("sip:bob@192.0.2.1", "192.0.2.1", 0, "udp"),
        ("sip:bob@192.0.2.1:5080;transport=TCP", "192.0.2.1", 5080, "tcp"),
        ("sips:bob@[2001:db8::1]:5061", "2001:db8::1", 5061, "tls"),
        ("sip:carrier", "carrier", 0, "udp"),
    ],
)
def test_the_parts_of_a_target(uri: str, host: str, port: int, transport: str) -> None:
    found = target_host("f", uri)
    assert (found.host, found.port, found.transport) == (host, port, transport)
