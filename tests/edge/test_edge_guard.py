# SPDX-License-Identifier: GPL-3.0-or-later
"""What strangers, a worker that was taken over, and a neighbour on the machine cannot do; and what no log shows."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from edge_kit import EdgeServer, Ua
from ivr.node.edge.rpc import EdgeRefused, Rpc

AGENT, STRANGER = "127.0.0.3", "127.0.0.9"
HASTY, PATIENT, SINGLE, CLOSED = "127.0.6.1", "127.0.6.2", "127.0.4.1", "127.0.5.1"
SOURCES = 600


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeServer]:
    trunks = [
        {"name": "pbx", "sources": ["127.0.0.1"]},
        {"name": "many", "sources": ["127.0.6.0/24"], "rate": 4, "source_rate": 2},
        {"name": "single", "sources": [SINGLE], "source_rate": 1},
        {"name": "closed", "sources": [CLOSED], "calls": 0},
    ]
    settings = {"edge": {"trunks": trunks, "agents": [AGENT]}, "sip": {"transports": ["udp", "tcp"]}}
    with EdgeServer(tmp_path_factory.mktemp("guard"), workers=4, settings=settings) as edge:
        yield edge


@pytest.fixture
def stack(edge: EdgeServer) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack
        for number in range(4):
            edge.tell(lambda control, name=f"w{number}": control.remove(name))
        edge.wait_status(lambda status: not any(place.calls for place in status.places))


@pytest.fixture
def worker(edge: EdgeServer, stack: ExitStack) -> Ua:
    made = stack.enter_context(edge.worker(0))
    edge.enable("w0")
    return made


def counted(edge: EdgeServer, name: str) -> int:
    return edge.status().counters.get(name, 0)


def known_is_answered(edge: EdgeServer) -> None:
    """Whatever was sent before this has been looked at."""
    with Ua(edge.public) as known:
        asked = known.options()
        known.wait(lambda m: m.call == asked.call and m.status > 0)


def rpc(edge: EdgeServer, method: str, *params: str | int) -> Any:
    client = Rpc(edge.folder / "run" / "edge" / "rpc.sock")
    try:
        return edge.tell(lambda _: client.call(method, *params))
    finally:
        client.close()


def route(edge: EdgeServer) -> str:
    return f"<sip:{edge.inside[0]}:{edge.inside[1]};lr>"


# -- strangers -------------------------------------------------------------------------------------------------------


def test_strangers_of_many_addresses_fill_neither_memory_nor_log(edge: EdgeServer) -> None:
    before, shown = counted(edge, "strangers"), edge.log.count("event=stranger")
    since = time.monotonic()
    for number in range(SOURCES):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forged:
            forged.bind((f"127.1.{number // 250}.{number % 250 + 1}", 0))
            forged.sendto(b"OPTIONS sip:nobody@here SIP/2.0\r\nVia: none\r\n\r\n", edge.public)
        if number % 50 == 49:
            edge.wait_status(lambda status, n=number: status.counters.get("strangers", 0) >= before + n * 9 // 10)
    took = time.monotonic() - since
    slots = [slot for entry in rpc(edge, "htable.dump", "stranger") for slot in entry["slot"]]
    assert len(slots) <= 257
    # Twice, because several processes may see the same second begin.
    assert edge.log.count("event=stranger") - shown <= 2 * (took + 2)


def test_a_strangers_reply_is_not_read(edge: EdgeServer) -> None:
    before = counted(edge, "strangers")
    forged = (
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1\r\nCSeq: forged\n event=end id=forged\r\nFrom: <forged\r\n\r\n"
    )
    with Ua(edge.public, address=STRANGER) as stranger:
        for _ in range(3):
            stranger.send(forged)
        edge.wait_status(lambda status: status.counters.get("strangers", 0) >= before + 3)
    assert "forged" not in edge.log


def test_a_strangers_keep_alive_over_tcp_is_not_answered(edge: EdgeServer) -> None:
    with socket.create_connection(edge.public, timeout=30, source_address=(STRANGER, 0)) as stranger:
        stranger.sendall(b"\r\n\r\n")
        with suppress(ConnectionResetError):
            assert stranger.recv(100) == b""  # it is closed, and nothing was said


# -- rates -----------------------------------------------------------------------------------------------------------


def test_one_address_does_not_use_up_its_trunks_rate(edge: EdgeServer, stack: ExitStack, worker: Ua) -> None:
    hasty, patient = (stack.enter_context(Ua(edge.public, address=address)) for address in (HASTY, PATIENT))
    sent = [hasty.invite("400") for _ in range(20)]
    patient.call("400")
    for dialog in sent:
        hasty.final(dialog)
    assert counted(edge, "refused_source_rate:many") >= 1
    assert counted(edge, "refused_rate:many") == 0


def test_a_refusal_for_being_too_fast_costs_no_transaction(edge: EdgeServer, stack: ExitStack, worker: Ua) -> None:
    closed = stack.enter_context(Ua(edge.public, address=CLOSED))
    before = rpc(edge, "tm.stats")["created"]
    assert closed.call("400")[1].status == 403
    known_is_answered(edge)
    assert rpc(edge, "tm.stats")["created"] == before


def test_what_is_sent_again_is_not_counted_again(edge: EdgeServer, stack: ExitStack, worker: Ua) -> None:
    caller = stack.enter_context(Ua(edge.public, address=SINGLE))
    dialog = caller.invite("400")
    again = caller._request(dialog, "INVITE")
    for _ in range(5):
        caller.send(again)
    assert caller.final(dialog).status == 200
    caller.send(again)
    known_is_answered(edge)
    assert counted(edge, "refused_source_rate:single") == 0
    assert worker.count("INVITE") == 1


# -- a worker that was taken over, or somebody in its place ------------------------------------------------------------


def test_a_worker_reaches_nobody_by_a_second_route(edge: EdgeServer, stack: ExitStack, worker: Ua) -> None:
    victim = stack.enter_context(Ua(edge.public, address=STRANGER))
    agent = stack.enter_context(Ua(edge.public, address=AGENT))
    routes = [route(edge), f"<sip:{victim.at};lr>"]
    _, answer = worker.call(f"sip:agent@{agent.at}", routes=routes, to=edge.inside)
    assert answer.status == 403
    assert not victim.seen
    worker.call(f"sip:agent@{agent.at};maddr={STRANGER}", routes=[route(edge)], to=edge.inside)
    assert not victim.seen


def test_a_worker_reaches_nobody_within_a_call(edge: EdgeServer, stack: ExitStack, worker: Ua) -> None:
    victim = stack.enter_context(Ua(edge.public, address=STRANGER))
    far = f"sip:{victim.at};transport=udp".encode().hex()
    for routes in (
        [route(edge)],
        [f"<sip:{edge.inside[0]}:{edge.inside[1]};lr;far={far}>"],
        [route(edge), f"<sip:{victim.at};lr>"],
    ):
        dialog = worker.invite(f"sip:victim@{victim.at}", routes=routes, to=("127.0.0.1", 9))
        dialog.theirs += ";tag=made-up"
        assert worker.request(dialog, "INFO").status == 403
    assert not victim.seen
    assert counted(edge, "refused_hop") >= 3


def test_a_request_goes_back_to_where_the_caller_is_and_not_to_a_foreign_contact(
    edge: EdgeServer, stack: ExitStack, worker: Ua
) -> None:
    elsewhere = stack.enter_context(Ua(edge.public, address=STRANGER))
    caller = stack.enter_context(Ua(edge.public))
    dialog, answer = caller.call("400", contact=f"sip:x@{elsewhere.at}")
    assert answer.status == 200
    worker.wait_request("ACK", dialog.call)
    assert worker.request(worker.dialogs[dialog.call], "BYE").status == 200
    caller.wait_request("BYE", dialog.call)
    assert not elsewhere.seen


def test_no_call_is_placed_over_the_control_socket(edge: EdgeServer, stack: ExitStack, worker: Ua) -> None:
    victim = stack.enter_context(Ua(edge.public, address=STRANGER))
    before = counted(edge, "refused_local")
    headers = "From: <sip:a@b>;tag=x\r\nTo: <sip:c@d>\r\nContact: <sip:e@f>\r\n"
    with suppress(EdgeRefused):
        rpc(edge, "tm.t_uac_start", "INVITE", f"sip:victim@{victim.at}", ".", ".", headers, "")
    edge.wait_status(lambda status: status.counters.get("refused_local", 0) == before + 1)
    known_is_answered(edge)
    assert not victim.seen


def test_a_slot_without_a_worker_places_no_calls(edge: EdgeServer, stack: ExitStack) -> None:
    agent = stack.enter_context(Ua(edge.public, address=AGENT))
    neighbour = stack.enter_context(edge.worker(2))

    def dial() -> int:
        return neighbour.call(f"sip:agent@{agent.at}", routes=[route(edge)], to=edge.inside)[1].status

    assert dial() == 403
    assert not agent.seen
    edge.enable("w2")
    assert dial() == 200
    edge.tell(lambda control: control.drain("w2"))
    assert dial() == 200  # a call that it has may still need an agent
    edge.tell(lambda control: control.remove("w2"))
    assert dial() == 403


def test_a_worker_that_rings_while_the_edge_restarts_is_not_refused(
    edge: EdgeServer, stack: ExitStack, worker: Ua
) -> None:
    agent = stack.enter_context(Ua(edge.public, address=AGENT))
    edge.stop()
    edge.start()
    dialog = worker.invite(f"sip:agent@{agent.at}", routes=[route(edge)], to=edge.inside)
    known_is_answered(edge)
    edge.enable("w0")
    worker.send(worker._request(dialog, "INVITE"), edge.inside)
    assert worker.final(dialog).status == 200
    assert [m.status for m in worker.seen if m.status >= 400] == []


# -- logs ------------------------------------------------------------------------------------------------------------


def test_no_line_of_kamailios_own_shows_a_call_id_or_a_uri(edge: EdgeServer, stack: ExitStack, worker: Ua) -> None:
    caller = stack.enter_context(Ua(edge.public))
    dialog, answer = caller.call("400", user="personal")
    assert answer.status == 200
    worker.wait_request("ACK", dialog.call)
    edge.stop()
    edge.start()
    assert caller.request(dialog, "BYE").status == 200
    bad = caller.invite("400", user="personal")
    for name in ("From", "To", "Contact", "Route", "Record-Route", "Via", "CSeq"):
        text = caller._request(bad, "INVITE", [f'{name}: "personal" <sip:personal@[::'])
        caller.send(text)
        caller.send(text.replace(f"{name}: ", f"{name}: <sip:personal@:;;>>\r\nX-Was: ", 1))
    caller.send("INVITE sip:personal@[:: SIP/2.0\r\n\r\n")
    known_is_answered(edge)
    for private in ("personal", dialog.call, bad.call):
        assert private not in edge.log, [line for line in edge.log.splitlines() if private in line][:3]


@pytest.mark.parametrize("level", ["info", "error"])
def test_errors_are_told_and_nothing_that_they_quote(tmp_path: Path, level: str) -> None:
    trunk = {"name": "here", "sources": ["127.0.0.1"]}
    with EdgeServer(tmp_path, settings={"edge": {"trunks": [trunk]}, "log": {"level": level}}) as edge:
        with Ua(edge.public) as caller:
            for n in range(50):
                caller.send(f"INVITE sip:personal@x SIP/2.0\r\nVia: personal;;;{n}\r\nFrom: <<personal\r\n\r\n")
            known_is_answered(edge)
        edge.wait_log("ERROR Kamailio: core parse_via")
    lines = edge.log.splitlines()
    assert "personal" not in edge.log
    assert "event=quiet" not in edge.log
    assert ("event=started" in edge.log) is (level == "info")
    assert len(lines) == len({line.partition(" edge ")[2] for line in lines}) < 30  # each once


def test_it_still_says_what_is_in_its_way_when_it_starts(edge: EdgeServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        before = edge.settings.folder / "server.yaml"
        text = before.read_text()
        edge.stop()
        try:
            before.write_text(text.replace(f"port: {edge.inside[1]}", f"port: {taken.getsockname()[1]}"))
            with pytest.raises(AssertionError, match="the edge is not ready"):
                edge.start()
            # The process that writes Kamailio's lines ends after it.
            deadline = time.monotonic() + 30
            while "address already in use" not in edge.log.lower():
                assert time.monotonic() < deadline, edge.log
                time.sleep(0.05)
        finally:
            before.write_text(text)
            edge.start()
