# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention: each kind goes when its clock runs out, what is held stays, a run that was cut short is finished."""

import json
from pathlib import Path

import pytest

from ivr.audit.watch import Alarm
from ivr.ledger.log import Entry
from ivr.ledger.query import LogReader
from ivr.ledger.tool import LedgerTool
from ivr.rights import retention
from ivr.rights.retention import Clocks, plan
from rights_kit import Server, make_server


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(tmp_path)


def test_each_kind_goes_on_its_own_clock(server: Server) -> None:
    aged = server.call(days_ago=100, recorded=False)  # personal fields: 90 days
    old = server.call(days_ago=31)  # the notice said 30 days
    kept = server.call(days_ago=31, told_days=60)
    with server.serving():
        done = server.ivr("retention", "run", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["recordings"] == [old.recording]
    assert not server.store.key_file(old.recording).exists()
    assert server.store.stored(kept.id, kept.recording).has_key
    received = {event.call: event for event in server.events("call.received")}
    # The caller's number is evidence of an asked call; what was dialled and the SIP Call-ID prove nothing.
    assert set(received[aged.id].personal) == {"caller"}
    assert set(received[old.id].personal) == {"caller", "dialled", "sip_call_id"}
    assert [e.personal for e in server.events("party.joined") if e.call == aged.id] == [{}]
    applied = server.events("retention.applied")
    assert [(e.data["rule"], e.data["what"]) for e in applied] == [
        ("recording", [old.recording]),
        ("personal", [received[aged.id].seq, received[aged.id].seq + 2]),
    ]
    assert server.findings() == []


def test_a_second_run_finds_nothing_left_to_do(server: Server) -> None:
    server.call(days_ago=100)
    with server.serving():
        assert server.ivr("retention", "run").exit_code == 0
        before = len(server.events("retention.applied", "recording.erased"))
        assert server.ivr("retention", "run").exit_code == 0
        assert len(server.events("retention.applied", "recording.erased")) == before


def test_the_callers_number_goes_when_its_evidence_is_over(server: Server) -> None:
    server.call(days_ago=3 * 365 + 1, recorded=False)
    with server.serving():
        assert server.ivr("retention", "run").exit_code == 0
    assert server.events("call.received")[0].personal == {}
    assert server.findings() == []


def test_the_plan_says_when(server: Server) -> None:
    call = server.call(days_ago=10)
    with LogReader(server.settings.storage.database) as log:
        items = plan(log, Clocks(90, 90, 1095))
    assert [item.rule for item in items if item.recording] == ["recording"]
    assert {(item.rule, item.name) for item in items if item.name} == {
        ("evidence", "caller"),
        ("personal", "dialled"),
        ("personal", "sip_call_id"),
        ("personal", "address"),
    }
    shown = server.ivr("retention", "plan")
    assert f"recording {call.recording}" in shown.stdout
    assert "3 personal fields" in shown.stdout


def test_the_ledger_lets_nothing_go_early(server: Server) -> None:
    """Whoever can reach the socket cannot use retention to erase evidence: the ledger looks at the clock itself."""
    server.call(days_ago=10)
    fields = [(event.seq, None) for event in server.events("call.received")]
    data = {"rule": "personal", "recordings": 0, "fields": 0, "what": [], "held": 0}
    with server.serving(), LedgerTool(server.settings.ledger.socket, "test") as tool:
        tool.erase("retention.applied", fields, data=data)
    assert set(server.events("call.received")[0].personal) == {"caller", "dialled", "sip_call_id"}


def test_evidence_does_not_go_by_the_shorter_clock(server: Server) -> None:
    server.call(days_ago=100, recorded=False)
    (seq,) = [event.seq for event in server.events("call.received")]
    data = {"rule": "personal", "recordings": 0, "fields": 0, "what": [], "held": 0}
    with server.serving(), LedgerTool(server.settings.ledger.socket, "test") as tool:
        tool.erase("retention.applied", [(seq, None)], data=data)
    assert set(server.events("call.received")[0].personal) == {"caller"}


@pytest.mark.parametrize("broken", ["_announce", "append"])
def test_a_run_that_was_cut_short_is_finished(server: Server, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    calls = [server.call(days_ago=31, seed=n) for n in (1, 3)]

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with server.serving():
        with monkeypatch.context() as patch:
            # After the files went and before the log says so; and before the run is named as a whole.
            patch.setattr(*((retention, broken) if broken == "_announce" else (LedgerTool, broken)), dies)
            assert server.ivr("retention", "run").exit_code != 0
        assert not server.store.key_file(calls[0].recording).exists()
        assert server.ivr("retention", "run").exit_code == 0
    (applied,) = server.events("retention.applied")
    assert sorted(applied.data["what"]) == sorted(call.recording for call in calls)
    assert len(server.events("recording.erased")) == 2
    assert server.findings() == []


def test_without_a_ledger_nothing_is_done(server: Server) -> None:
    call = server.call(days_ago=31)
    done = server.ivr("retention", "run")
    assert done.exit_code == 2
    assert "Nothing was done" in done.stderr
    assert server.store.key_file(call.recording).exists()


def _says(server: Server, call: str, kind: str, **data: object) -> None:
    log = server.open_log()
    log.append([Entry(kind, call, {"at_ms": 9000, **data})], checkpoint=True)
    log.close()


@pytest.mark.parametrize("why", ["the storage refused", "the worker died over it"])
def test_what_a_withdrawal_should_have_erased_goes_at_once(server: Server, why: str) -> None:
    call, other = server.call(days_ago=1, seed=1), server.call(days_ago=1, seed=3)
    asked = {"policy_sha256": "sha256:00", "machine": 1, "policy": {"on_withdraw": "erase"}, "settings": {}}
    if why == "the storage refused":
        data = {"recording": call.recording, "reason": "withdrawn", "error": "VaultUnwritable"}
        _says(server, call.id, "recording.not_erased", **data)
        assert Alarm.ERASURE_OWED in server.ivr("log", "watch", "--once").stdout
    else:
        _says(server, call.id, "consent.asked", **asked)
        _says(server, call.id, "consent.withdrawn", party="caller", source="dtmf", key="9")
    with server.serving():
        assert server.ivr("retention", "run").exit_code == 0
    (erased,) = server.events("recording.erased")
    assert (erased.data["recording"], erased.data["reason"]) == (call.recording, "withdrawn")
    assert not server.store.key_file(call.recording).exists()
    assert server.store.key_file(other.recording).exists()
    assert Alarm.ERASURE_OWED not in server.ivr("log", "watch", "--once").stdout
