# SPDX-License-Identifier: GPL-3.0-or-later
"""A running edge: who gets which call, what happens when nobody can, and what an outsider gets to see."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from edge_kit import EdgeServer, Sip, Ua
from ivr.node.edge.control import PlaceState


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeServer]:
    with EdgeServer(tmp_path_factory.mktemp("edge"), workers=4) as edge:
        yield edge


@pytest.fixture
def stack(edge: EdgeServer) -> Iterator[ExitStack]:
    """What a test opens. At its end all places are out and no call is left."""
    with ExitStack() as stack:
        yield stack
        for number in range(4):
            edge.tell(lambda control, name=f"w{number}": control.remove(name))
        edge.wait_status(lambda status: not any(place.calls for place in status.places))


def workers(edge: EdgeServer, stack: ExitStack, *statuses: int) -> list[Ua]:
    """Enabled workers that answer INVITE with these statuses, and everything else with 200."""

    def answers(status: int):  # type: ignore[no-untyped-def]
        return lambda m: status if m.method == "INVITE" else 200

    made = [stack.enter_context(edge.worker(n, answers(status))) for n, status in enumerate(statuses)]
    edge.enable(*(f"w{n}" for n in range(len(made))))
    return made


def calls_of(edge: EdgeServer) -> list[int]:
    return [place.calls for place in edge.status().places]


def test_a_call_is_set_up_and_ended_through_the_edge(edge: EdgeServer, stack: ExitStack) -> None:
    (worker,) = workers(edge, stack, 200)
    caller = stack.enter_context(Ua(edge.public))
    dialog, answer = caller.call("400")
    assert answer.status == 200
    worker.wait_request("ACK", dialog.call)
    assert calls_of(edge) == [1, 0, 0, 0]
    assert caller.request(dialog, "BYE").status == 200
    worker.wait_request("BYE", dialog.call)
    assert calls_of(edge) == [0, 0, 0, 0]


def test_the_worker_hangs_up_through_the_edge(edge: EdgeServer, stack: ExitStack) -> None:
    (worker,) = workers(edge, stack, 200)
    caller = stack.enter_context(Ua(edge.public))
    dialog, _ = caller.call("400")
    worker.wait_request("ACK", dialog.call)
    assert worker.request(worker.dialogs[dialog.call], "BYE").status == 200
    caller.wait_request("BYE", dialog.call)


def test_a_caller_that_knows_nothing_of_routes_can_end_its_call(edge: EdgeServer, stack: ExitStack) -> None:
    (worker,) = workers(edge, stack, 200)
    caller = stack.enter_context(Ua(edge.public))
    dialog, _ = caller.call("400", strict=False)
    worker.wait_request("ACK", dialog.call)
    assert dialog.routes == []
    assert caller.request(dialog, "BYE").status == 200
    worker.wait_request("BYE", dialog.call)
    edge.wait_status(lambda status: status.of("w0").calls == 0)


def test_calls_go_to_the_least_loaded_and_never_more_than_two_to_one(edge: EdgeServer, stack: ExitStack) -> None:
    made = workers(edge, stack, 200, 200, 200)
    callers = [stack.enter_context(Ua(edge.public)) for _ in range(8)]
    sent = [caller.invite("400") for caller in callers]  # all at once
    answers = [caller.final(dialog) for caller, dialog in zip(callers, sent, strict=True)]
    assert sorted(answer.status for answer in answers) == [200] * 6 + [503] * 2
    assert calls_of(edge) == [2, 2, 2, 0]
    assert [worker.count("INVITE") for worker in made] == [2, 2, 2]
    refused = next(answer for answer in answers if answer.status == 503)
    assert int(refused.get("Retry-After")) > 0
    assert edge.status().counters["full"] >= 2


def test_the_second_call_goes_to_an_idle_worker(edge: EdgeServer, stack: ExitStack) -> None:
    workers(edge, stack, 200, 200, 200, 200)
    for _ in range(4):
        stack.enter_context(Ua(edge.public)).call("400")
    assert calls_of(edge) == [1, 1, 1, 1]


@pytest.mark.parametrize("status", [480, 486, 500, 503])
def test_a_worker_that_cannot_is_passed_over(edge: EdgeServer, stack: ExitStack, status: int) -> None:
    made = workers(edge, stack, status, 200)
    for _ in range(2):  # whichever comes first
        assert stack.enter_context(Ua(edge.public)).call("400")[1].status == 200
    assert calls_of(edge) == [0, 2, 0, 0]
    assert made[1].count("INVITE") == 2


@pytest.mark.parametrize("status", [403, 404, 488, 603])
def test_a_refusal_that_is_final_is_not_tried_elsewhere(edge: EdgeServer, stack: ExitStack, status: int) -> None:
    made = workers(edge, stack, status, status)
    assert stack.enter_context(Ua(edge.public)).call("400")[1].status == status
    assert sum(worker.count("INVITE") for worker in made) == 1


def test_a_silent_worker_is_passed_over_and_comes_back_when_it_answers(edge: EdgeServer, stack: ExitStack) -> None:
    first, second = workers(edge, stack, 200, 200)
    first.muted.set()
    second.muted.clear()
    for _ in range(2):
        assert stack.enter_context(Ua(edge.public)).call("400")[1].status == 200
    assert edge.status().of("w0").state is PlaceState.SILENT
    assert calls_of(edge)[:2] == [0, 2]
    first.muted.clear()
    edge.wait_status(lambda status: status.of("w0").state is PlaceState.ACTIVE)
    assert stack.enter_context(Ua(edge.public)).call("400")[1].status == 200
    assert calls_of(edge)[:2] == [1, 2]


def test_an_idle_worker_is_not_asked_anything(edge: EdgeServer, stack: ExitStack) -> None:
    worker, silent = workers(edge, stack, 200, 0)
    silent.answer = lambda m: 0 if m.method == "INVITE" else 200
    stack.enter_context(Ua(edge.public)).call("400")
    stack.enter_context(Ua(edge.public)).call("400")
    silent.wait_request("OPTIONS", within=10)  # pings do run, for who was silent
    assert worker.count("OPTIONS") == 0


def test_a_drained_worker_keeps_its_calls_and_gets_no_more(edge: EdgeServer, stack: ExitStack) -> None:
    worker, other = workers(edge, stack, 200, 200)
    del other
    edge.tell(lambda control: control.drain("w1"))
    caller = stack.enter_context(Ua(edge.public))
    dialog, _ = caller.call("400")
    edge.tell(lambda control: control.drain("w0"))
    assert edge.status().of("w0").state is PlaceState.DRAINING
    assert stack.enter_context(Ua(edge.public)).call("400")[1].status == 503
    assert caller.request(dialog, "INFO").status == 200
    worker.wait_request("INFO", dialog.call)
    edge.enable("w0")
    assert stack.enter_context(Ua(edge.public)).call("400")[1].status == 200


def test_remove_ends_calls_on_both_sides_and_frees_the_slot(edge: EdgeServer, stack: ExitStack) -> None:
    agent = stack.enter_context(Ua(edge.public))
    (worker,) = workers(edge, stack, 200)
    caller = stack.enter_context(Ua(edge.public))
    dialog, _ = caller.call("400")
    route = f"<sip:{edge.inside[0]}:{edge.inside[1]};lr>"
    out, answer = worker.call(f"sip:agent@{agent.at}", routes=[route], to=edge.inside)
    assert answer.status == 200
    agent.wait_request("ACK", out.call)
    worker.muted.set()  # it is dead
    assert edge.tell(lambda control: control.remove("w0")) == 2
    caller.wait_request("BYE", dialog.call)
    agent.wait_request("BYE", out.call)
    edge.wait_status(lambda status: status.of("w0").calls == 0)
    assert edge.status().of("w0").state is PlaceState.OUT
    assert stack.enter_context(Ua(edge.public)).call("400")[1].status == 503


def test_cancel_reaches_the_worker(edge: EdgeServer, stack: ExitStack) -> None:
    (worker,) = workers(edge, stack, 180)
    caller = stack.enter_context(Ua(edge.public))
    dialog = caller.invite("400")
    caller.wait(lambda m: m.status == 180)
    caller.send(caller._request(dialog, "CANCEL"))
    worker.wait_request("CANCEL", dialog.call)
    worker.send(worker.reply(worker.wait_request("INVITE", dialog.call), 487))
    assert caller.final(dialog).status == 487
    edge.wait_status(lambda status: status.of("w0").calls == 0)


def test_a_worker_that_dies_before_it_answers_is_passed_over(edge: EdgeServer, stack: ExitStack) -> None:
    first, second = workers(edge, stack, 100, 200)
    edge.tell(lambda control: control.drain("w1"))
    caller = stack.enter_context(Ua(edge.public))
    dialog = caller.invite("400")
    first.wait_request("INVITE", dialog.call)
    first.muted.set()
    edge.enable("w1")
    assert caller.final(dialog).status == 200
    second.wait_request("ACK", dialog.call)
    assert calls_of(edge)[:2] == [0, 1]


def test_remove_lets_no_telephone_ring_on(edge: EdgeServer, stack: ExitStack) -> None:
    agent = stack.enter_context(Ua(edge.public, answer=lambda m: 180 if m.method == "INVITE" else 200))
    (worker,) = workers(edge, stack, 200)
    route = f"<sip:{edge.inside[0]}:{edge.inside[1]};lr>"
    out = worker.invite(f"sip:agent@{agent.at}", routes=[route], to=edge.inside)
    worker.wait(lambda m: m.status == 180)
    worker.muted.set()
    assert edge.tell(lambda control: control.remove("w0")) == 1
    agent.wait_request("CANCEL", out.call)
    agent.send(agent.reply(agent.wait_request("INVITE", out.call), 487))


def test_no_place_of_a_worker_is_ever_seen_outside(edge: EdgeServer, stack: ExitStack) -> None:
    agent = stack.enter_context(Ua(edge.public))
    (worker,) = workers(edge, stack, 200)
    caller = stack.enter_context(Ua(edge.public))
    dialog, _ = caller.call("400")
    route = f"<sip:{edge.inside[0]}:{edge.inside[1]};lr>"
    out, _ = worker.call(f"sip:agent@{agent.at}", routes=[route], to=edge.inside)
    caller.request(dialog, "INFO")
    worker.request(out, "INFO")
    agent.request(agent.dialogs[out.call], "INFO")
    worker.request(worker.dialogs[dialog.call], "BYE")
    agent.request(agent.dialogs[out.call], "BYE")
    seen = [*caller.seen, *agent.seen]
    assert len(seen) >= 7
    for message in seen:
        for port in (edge.places[0][1], edge.inside[1]):
            assert f":{port}" not in message.raw, message.raw
        assert "X-Assent-Id" not in message.raw


def test_the_edge_names_each_call_and_believes_no_caller(edge: EdgeServer, stack: ExitStack) -> None:
    (worker,) = workers(edge, stack, 200)
    mine = "0123456789abcdef" * 2
    one, two = (stack.enter_context(Ua(edge.public)) for _ in range(2))
    ids = []
    for caller in (one, two):
        dialog, _ = caller.call("+4930123456", more=[f"X-Assent-Id: {mine}"], user="+4917012345678")
        (given,) = worker.wait_request("INVITE", dialog.call).all("X-Assent-Id")
        assert len(given) == 32
        assert int(given, 16)
        ids.append(given)
        caller.request(dialog, "BYE")
    assert len({*ids, mine}) == 3
    for given in ids:
        edge.wait_log(f"event=call id={given} trunk=local to=w0")
        edge.wait_log(f"event=end id={given}")
    for personal in ("49301234", "49170123", "example.org"):
        assert personal not in edge.log


def test_no_header_of_a_strangers_making_reaches_somebody_else(edge: EdgeServer, stack: ExitStack) -> None:
    (worker,) = workers(edge, stack, 200)
    caller, victim = (stack.enter_context(Ua(edge.public)) for _ in range(2))
    dialog, _ = caller.call("400")
    own, target = dialog.routes, dialog.target
    for routes, to in (
        ([own[0]], f"sip:victim@{victim.at}"),
        ([*own, f"<sip:{victim.at};lr>"], target),
        ([f"<sip:{edge.public[0]}:{edge.port};lr>", f"<sip:{victim.at};lr>"], target),
    ):
        dialog.routes, dialog.target = list(routes), to
        assert caller.request(dialog, "INFO").status == 404
    assert worker.count("INFO") == 0
    dialog.routes, dialog.target = [own[0], f"<sip:{victim.at};lr>"], target
    caller.request(dialog, "INFO")  # the second of the pair is taken for ours, whatever it says
    assert not victim.seen
    assert edge.status().counters["refused_relay"] >= 3


def test_a_worker_cannot_ring_whom_nobody_named(edge: EdgeServer, stack: ExitStack) -> None:
    (worker,) = workers(edge, stack, 200)
    route = f"<sip:{edge.inside[0]}:{edge.inside[1]};lr>"
    for uri in ("sip:x@192.0.2.77:5060", "sip:x@nowhere.example"):
        _, answer = worker.call(uri, routes=[route], to=edge.inside)
        assert answer.status == 403, uri


def test_only_workers_are_heard_inside(edge: EdgeServer, stack: ExitStack) -> None:
    outsider = stack.enter_context(Ua(edge.inside))
    outsider.options()
    caller = stack.enter_context(Ua(edge.public))
    dialog = caller.options()
    caller.wait(lambda m: m.status == 503 and m.call == dialog.call)  # nobody is enabled
    assert not outsider.seen
    workers(edge, stack, 200)
    dialog = caller.options()
    caller.wait(lambda m: m.status == 200 and m.call == dialog.call)


def test_a_caller_with_ipv6_audio_alone_is_told_why(edge: EdgeServer, stack: ExitStack) -> None:
    workers(edge, stack, 200)
    body = "v=0\r\no=- 1 1 IN IP6 ::1\r\ns=-\r\nc=IN IP6 ::1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    _, answer = stack.enter_context(Ua(edge.public)).call("400", body=body)
    assert (answer.status, answer.get("Warning")[:3]) == (488, "301")


def test_a_late_answer_of_a_worker_that_hung_is_dropped(edge: EdgeServer, stack: ExitStack) -> None:
    first, second = workers(edge, stack, 0, 200)
    edge.tell(lambda control: control.drain("w1"))
    caller = stack.enter_context(Ua(edge.public))
    dialog = caller.invite("400")
    invite: Sip = first.wait_request("INVITE", dialog.call)
    edge.enable("w1")
    second.wait_request("INVITE", dialog.call)
    assert caller.final(dialog).status == 200
    place = second.dialogs[dialog.call].ours
    first.send(first.reply(invite, 200), first.to)
    assert caller.request(dialog, "INFO").status == 200
    tags = {m.get("To") for m in caller.seen if m.status == 200 and m.method == "INVITE"}
    assert tags == {place}
