# SPDX-License-Identifier: GPL-3.0-or-later
"""Legal holds: by call, by number, by case; retention and erasure skip what one covers, and say so."""

import json
from pathlib import Path

import pytest

from ivr.ledger.event import EventError
from ivr.ledger.ids import uuid7
from ivr.ledger.log import Entry
from ivr.ledger.personal import Erasing
from rights_kit import NUMBER, MadeCall, Server, joined, make_server, received

OTHER = "+441632960123"


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(tmp_path)


def kept(server: Server, call: MadeCall) -> bool:
    return server.store.key_file(call.recording).exists()


def caller_known(server: Server, call: MadeCall) -> bool:
    return any("caller" in e.personal for e in server.events("call.received") if e.call == call.id)


@pytest.mark.parametrize("by", ["call", "number"])
def test_what_is_held_stays_and_is_named(server: Server, by: str) -> None:
    held, other = server.call(days_ago=100, seed=1), server.call(days_ago=100, caller="+441632960123", seed=3)
    what = ["--call", held.id] if by == "call" else ["--number", "0049 30 123456"]
    if by == "number":  # any common way of writing it, once the country is known
        text = (server.folder / "server.yaml").read_text()
        (server.folder / "server.yaml").write_text(text.replace("region: null", "region: DE"))
    with server.serving():
        assert server.by_officer("hold", "place", *what, "--case", "A-1").exit_code == 0
        ran = server.ivr("retention", "run")
        assert ran.exit_code == 0, ran.output
        assert "kept for a legal hold" in ran.stderr
        assert (kept(server, held), kept(server, other)) == (True, False)
        for target in (["--call", held.id], ["--number", NUMBER], ["--recording", held.recording]):
            done = server.by_officer("erase", *target)
            assert done.exit_code == 0, done.output
            assert held.id in done.stderr
        assert kept(server, held)
        assert caller_known(server, held)
        assert "on hold" in server.ivr("retention", "plan").stdout
        listed = json.loads(server.ivr("hold", "list", "--json").stdout)
        assert (listed["case"], listed["calls"]) == ("A-1", [held.id])
        assert server.by_officer("hold", "lift", "--case", "A-1").exit_code == 0
        assert server.ivr("hold", "list").stdout == ""
        assert server.by_officer("erase", "--call", held.id).exit_code == 0
        assert not kept(server, held)
        assert not caller_known(server, held)
    erased = server.events("subject.erased")
    assert [held.id in event.data["held"] for event in erased] == [True, True, True, False]
    assert server.findings() == []


def test_a_hold_by_number_covers_calls_that_come_later(server: Server) -> None:
    with server.serving():
        assert server.by_officer("hold", "place", "--number", NUMBER).exit_code == 0
    late = server.call()
    with server.serving():
        assert server.by_officer("erase", "--call", late.id).exit_code == 0
    assert kept(server, late)
    assert caller_known(server, late)


def test_only_an_officer_lifts(server: Server, tmp_path: Path) -> None:
    call = server.call()
    operator = tmp_path / "operator.age"
    assert server.ivr("access", "add", "olga", "--role", "operator", "--identity", str(operator)).exit_code == 0
    as_operator = ("--identity", str(operator), "--reason", "court")
    with server.serving():
        assert server.ivr("hold", "place", "--call", call.id, "--case", "X", *as_operator).exit_code == 0
        refused = server.ivr("hold", "lift", "--case", "X", *as_operator)
        assert refused.exit_code == 2
        assert "only officer" in refused.stderr
    assert server.events("hold.lifted") == []
    (placed,) = server.events("hold.placed")
    assert placed.personal["who"] == "olga"


def test_a_hold_needs_something_to_hold_and_a_label_without_names(server: Server) -> None:
    with server.serving():
        assert server.by_officer("hold", "place", "--case", "A").exit_code == 2
        call = server.ivr("hold", "list")
        assert call.exit_code == 0
        refused = server.by_officer("hold", "place", "--number", NUMBER, "--case", "Mrs Smith")
        assert refused.exit_code == 2
    assert server.events("hold.placed") == []


def test_an_erasure_with_more_held_calls_than_one_event_holds(server: Server) -> None:
    calls = [uuid7() for _ in range(1300)]
    free = server.call(caller=OTHER)
    log = server.open_log()
    for call in calls:
        ended = Entry("call.ended", call, {"at_ms": 9000, "outcome": "completed", "reason": "hangup"})
        log.append([received(call, NUMBER), joined(call), ended])
    log.close()
    with server.serving():
        assert server.by_officer("hold", "place", "--number", NUMBER).exit_code == 0
        done = server.by_officer("erase", "--number", NUMBER)
        assert done.exit_code == 0, done.output
        assert server.by_officer("erase", "--call", free.id).exit_code == 0
    kept_back = {call for event in server.events("subject.erased") for call in event.data["held"]}
    assert kept_back >= set(calls)
    assert all("caller" in event.personal for event in server.events("call.received") if event.call in set(calls))
    assert server.findings() == []


def test_an_event_that_would_be_too_large_destroys_nothing(server: Server) -> None:
    call = server.call()
    log = server.open_log()
    held = [f"{uuid7()}" for _ in range(1500)]
    data = {"scope": "call", "events": [], "fields": 0, "secrets": 0, "why": "x", "held": held, "recordings": []}
    fields = tuple((event.seq, None) for event in server.events() if event.call == call.id)
    with pytest.raises(EventError, match="split it"):
        log.append([Entry("subject.erased", None, data, erases=Erasing(fields))])
    log.close()
    assert caller_known(server, call)
