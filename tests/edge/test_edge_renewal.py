# SPDX-License-Identifier: GPL-3.0-or-later
"""One edge takes the place of another: whoever was just calling, ringing or answering notices nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from edge_kit import EdgeServer, Sip, Ua, token
from ivr.node.edge.rpc import EdgeRefused

AGENT, STRANGER = "127.0.0.3", "127.0.0.9"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeServer]:
    trunks = [{"name": "here", "sources": ["127.0.0.1"]}]
    settings = {"edge": {"trunks": trunks, "agents": [AGENT]}, "sip": {"transports": ["udp", "tcp"]}}
    with EdgeServer(tmp_path_factory.mktemp("edge"), settings=settings) as edge:
        yield edge


@pytest.fixture
def stack(edge: EdgeServer) -> Iterator[ExitStack]:
    """What a test opens. At its end all places are out and no call is left."""
    with ExitStack() as stack:
        yield stack
        for name in ("w0", "w1"):
            edge.tell(lambda control, name=name: control.remove(name))
        edge.wait_status(lambda status: not any(place.calls for place in status.places))


def slow(request: Sip) -> int:
    """An agent or worker that has not answered a call yet."""
    return 0 if request.method == "INVITE" else 200


def route(edge: EdgeServer) -> str:
    return f"<sip:{edge.inside[0]}:{edge.inside[1]};lr>"


def answered(ua: Ua, request: Sip, to: tuple[str, int]) -> None:
    """Answers what it had left open, as `Ua` does."""
    ua.answer, ua.peer = lambda _: 200, to
    ua._respond(request)


def passed_on(edge: EdgeServer) -> int:
    return edge.status().counters.get("passed_on", 0)


def test_a_caller_who_was_to_be_answered_by_the_edge_before_gets_the_answer(edge: EdgeServer, stack: ExitStack) -> None:
    worker, caller = stack.enter_context(edge.worker(0, slow)), stack.enter_context(Ua(edge.public))
    edge.enable("w0")
    dialog = caller.invite("400")
    request = worker.wait_request("INVITE", dialog.call)
    edge.stop()
    edge.start()
    edge.enable("w0")
    worker.send(worker.reply(request, 100), edge.inside)  # says nothing that the caller does not know
    answered(worker, request, edge.inside)
    answer = caller.final(dialog)
    assert answer.status == 200
    assert caller.peer == edge.public  # from where a firewall expects it
    assert str(worker.port) not in answer.raw
    assert str(edge.inside[1]) not in answer.raw
    assert [m.status for m in caller.seen] == [100, 200]  # the 100 is the first edge's own
    worker.wait_request("ACK", dialog.call)
    assert caller.request(dialog, "INFO").status == 200
    assert worker.request(worker.dialogs[dialog.call], "BYE").status == 200
    caller.wait_request("BYE", dialog.call)
    assert passed_on(edge) == 1


def test_an_agent_who_was_ringing_can_answer(edge: EdgeServer, stack: ExitStack) -> None:
    agent = stack.enter_context(Ua(edge.public, address=AGENT, answer=slow))
    worker = stack.enter_context(edge.worker(0))
    edge.enable("w0")
    dialog = worker.invite(f"sip:agent@{agent.at}", routes=[route(edge)], to=edge.inside)
    request = agent.wait_request("INVITE", dialog.call)
    agent.send(agent.reply(request, 180))
    worker.wait(lambda m: m.call == dialog.call and m.status == 180)
    edge.renew()
    edge.enable("w0")
    agent.send(agent.reply(request, 183))
    worker.wait(lambda m: m.call == dialog.call and m.status == 183)
    answered(agent, request, edge.public)
    assert worker.final(dialog).status == 200
    assert worker.peer == edge.inside
    agent.wait_request("ACK", dialog.call)
    assert agent.request(agent.dialogs[dialog.call], "INFO").status == 200
    assert worker.request(dialog, "BYE").status == 200
    agent.wait_request("BYE", dialog.call)
    assert passed_on(edge) == 2


def forged(edge: EdgeServer, via: str, *, method: str = "INVITE", call: str = "") -> str:
    """An answer to a request that nobody has sent."""
    return "\r\n".join(
        [
            "SIP/2.0 200 OK",
            f"Via: SIP/2.0/UDP {edge.public[0]}:{edge.public[1]};branch=z9hG4bK{token()}",
            *([f"Via: {via}"] if via else []),
            f"From: <sip:a@example.org>;tag={token()}",
            f"To: <sip:b@example.org>;tag={token()}",
            f"Call-ID: {call or token()}",
            f"CSeq: 1 {method}",
            "Contact: <sip:b@127.0.0.1>",
            "Content-Length: 0\r\n\r\n",
        ]
    )


def test_an_answer_is_passed_on_only_where_requests_may_go(edge: EdgeServer, stack: ExitStack) -> None:
    worker, other = stack.enter_context(edge.worker(0)), stack.enter_context(Ua(edge.public))
    agent = stack.enter_context(Ua(edge.public, address=AGENT))
    victim = stack.enter_context(Ua(edge.public, address=STRANGER))
    edge.enable("w0")
    before = passed_on(edge)
    branch = "branch=z9hG4bKany"
    # From outside to a worker and to nobody else; from a worker to trunks and agents and to nobody else.
    for sender, to, via in (
        (agent, edge.public, f"SIP/2.0/UDP {victim.at};{branch}"),
        (agent, edge.public, f"SIP/2.0/UDP {other.at};{branch}"),
        (agent, edge.public, f"SIP/2.0/UDP 127.0.0.1:{worker.port};received={STRANGER};rport={victim.port};{branch}"),
        (agent, edge.public, f"SIP/2.0/UDP 127.0.0.1:{worker.port};rport={other.port};{branch}"),
        (agent, edge.public, ""),
        (worker, edge.inside, f"SIP/2.0/UDP {victim.at};{branch}"),
        (worker, edge.inside, f"SIP/2.0/UDP {other.at};received={STRANGER};rport={victim.port};{branch}"),
        (worker, edge.inside, f"SIP/2.0/UDP localhost:{other.port};{branch}"),
        (worker, edge.inside, f"SIP/2.0/TLS {other.at};{branch}"),
        (victim, edge.public, f"SIP/2.0/UDP 127.0.0.1:{worker.port};{branch}"),
    ):
        sender.send(forged(edge, via), to)
    agent.send(forged(edge, f"SIP/2.0/UDP 127.0.0.1:{worker.port};{branch}", method="OPTIONS"))
    worker.send(forged(edge, f"SIP/2.0/UDP {other.at};{branch}"), edge.inside)  # this one may go, after all others
    other.wait(lambda m: m.status == 200)
    agent.send(forged(edge, f"SIP/2.0/UDP 127.0.0.1:{worker.port};{branch}"), edge.public)
    worker.wait(lambda m: m.status == 200)
    assert passed_on(edge) == before + 2
    assert (len(other.seen), len(worker.seen), victim.seen) == (1, 1, [])


def test_a_second_answer_to_a_call_of_this_edge_is_nobodys(edge: EdgeServer, stack: ExitStack) -> None:
    """A worker that hung, whose call went to another: its answer must not reach the caller past the transaction."""
    worker, hung = stack.enter_context(edge.worker(0)), stack.enter_context(edge.worker(1, slow))
    caller = stack.enter_context(Ua(edge.public))
    edge.enable("w0")
    dialog, answer = caller.call("400")
    assert answer.status == 200
    before = passed_on(edge)
    via = f"SIP/2.0/UDP {caller.at};branch=z9hG4bKany"
    hung.send(forged(edge, via, call=dialog.call), edge.inside)
    hung.send(forged(edge, via), edge.inside)
    caller.wait(lambda m: m.status == 200 and m.call != dialog.call)
    assert passed_on(edge) == before + 1
    assert [m.status for m in caller.seen if m.call == dialog.call and m.status >= 200] == [200]
    assert caller.request(dialog, "BYE").status == 200
    worker.wait_request("BYE", dialog.call)


def is_held(edge: EdgeServer) -> bool:
    try:
        edge.tell(lambda control: control._rpc.call("htable.get", "door", "held"))
    except EdgeRefused:
        return False
    return True


def test_new_calls_are_held_back_and_taken_by_the_edge_that_stays(edge: EdgeServer, stack: ExitStack) -> None:
    worker, caller = stack.enter_context(edge.worker(0)), stack.enter_context(Ua(edge.public))
    edge.enable("w0")
    up, answer = caller.call("400")
    assert answer.status == 200
    edge.tell(lambda control: control.hold())
    held = caller.invite("400")
    legs = worker.invite(f"sip:agent@{AGENT}:9", routes=[route(edge)], to=edge.inside)
    assert caller.request(up, "INFO").status == 200  # calls that are up go on, and this came after the new one
    assert worker.request(worker.dialogs[up.call], "INFO").status == 200
    assert not [m for m in (*caller.seen, *worker.seen) if m.call in (held.call, legs.call)]
    with Ua(edge.public, kind="tcp") as other:  # it would not ask again
        told, answer = other.call("400")
        assert answer.status == 200
        assert other.request(told, "BYE").status == 200
    edge.renew()
    edge.enable("w0")
    caller.send(caller._request(held, "INVITE"))
    assert caller.final(held).status == 200
    for dialog in (up, held):
        assert caller.request(dialog, "BYE").status == 200


def test_a_door_that_is_held_for_nothing_opens_by_itself(edge: EdgeServer, stack: ExitStack) -> None:
    caller = stack.enter_context(Ua(edge.public))
    stack.enter_context(edge.worker(0))
    edge.enable("w0")
    ran = edge.ivr("edge", "hold")
    assert (ran.status, ran.out) == (0, "")
    dialog, deadline = caller.invite("400"), time.monotonic() + 20
    while not caller.seen and time.monotonic() < deadline:
        caller.send(caller._request(dialog, "INVITE"))
        with suppress(AssertionError):
            caller.wait(lambda m: m.call == dialog.call, within=0.2)
    assert caller.final(dialog).status == 200
    assert caller.request(dialog, "BYE").status == 200


def test_who_holds_waits_until_a_call_before_it_has_its_answer(
    edge: EdgeServer, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ivr.node.edge.control.CLEAR_S", 60.0)
    worker, caller = stack.enter_context(edge.worker(0, slow)), stack.enter_context(Ua(edge.public))
    edge.enable("w0")
    dialog = caller.invite("400")
    request = worker.wait_request("INVITE", dialog.call)
    ended: list[float] = []

    def hold() -> None:
        edge.tell(lambda control: control.hold())
        ended.append(time.monotonic())

    holding = threading.Thread(target=hold)
    holding.start()
    caller.wait_until(lambda: is_held(edge), within=30)
    at = time.monotonic()
    answered(worker, request, edge.inside)
    holding.join(timeout=30)
    assert ended
    assert ended[0] > at
    assert caller.final(dialog).status == 200
    assert caller.request(dialog, "BYE").status == 200


def test_an_edge_that_is_away_cannot_be_held(edge: EdgeServer) -> None:
    edge.stop()
    ran = edge.ivr("edge", "hold")
    edge.start()
    assert ran.status == 2
    assert "no edge on" in ran.err
