# SPDX-License-Identifier: GPL-3.0-or-later
"""Every event has a sentence, whatever it holds; the headline says recorded or not, and why."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from test_replay import ledger_gone, lost, refused, withdrawn

from consent_kit import AGENT
from ivr.audit.timeline import KNOWN, headline, sentence
from ivr.audit.wording import REASONS
from ivr.cli import main
from ivr.consent import inputs as i
from ivr.consent.inputs import CALLER, Preference, Source
from ivr.ledger.catalogue import TYPES
from ivr.ledger.log import Entry
from ivr.node.observe.screen import END
from ledger_kit import CALL, Home, make_home
from replay_kit import Writer, asked, cleared, recorded


def test_every_type_of_the_catalogue_has_a_sentence_and_no_other() -> None:
    assert set(TYPES) == KNOWN


@pytest.mark.parametrize("kind", sorted(TYPES))
@pytest.mark.parametrize("value", [None, "x", 7, [], {}, True], ids=str)
def test_a_sentence_never_fails_and_says_something(kind: str, value: Any) -> None:
    data = dict.fromkeys(TYPES[kind].data, value)
    for personal in ({}, dict.fromkeys(TYPES[kind].personal, "sip:a@example.org")):
        assert sentence(kind, data, personal)


def test_what_nobody_declared_is_named_with_its_fields() -> None:
    assert sentence("moon.rose", {"at_ms": 1, "side": "east"}, {}) == "moon.rose: side east"


SENTENCES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "call.received",
        {"flow": "sales", "worker": "worker-1"},
        {"caller": "+491", "dialled": "100"},
        "call from +491 to 100, flow sales, taken by worker-1",
    ),
    ("call.received", {"flow": "sales", "worker": "w"}, {}, "call from (erased) to (erased), flow sales, taken by w"),
    ("consent.signalled", {"party": CALLER, "source": "dtmf", "value": "1"}, {}, "the caller pressed 1 (key)"),
    (
        "consent.signalled",
        {"party": "agent-2", "source": "operator", "value": "off"},
        {},
        "agent 2 prefers recording off (the operator)",
    ),
    (
        "consent.decided",
        {
            "party": CALLER,
            "decision": "refused",
            "source": "dtmf",
            "key": "1",
            "mode": "opt_out",
            "lawful_basis": "legitimate_interests",
        },
        {},
        "the caller refused by key 1 (opt_out, lawful basis legitimate interests)",
    ),
    (
        "consent.withdrawn",
        {"party": AGENT, "source": "info", "key": "9"},
        {},
        "the agent withdrew by key by SIP INFO 9",
    ),
    ("agent.informed", {"party": AGENT, "recorded": True}, {}, "the agent was told that the call is recorded"),
    ("agent.informed", {"party": AGENT, "recorded": False}, {}, "the agent was told that the call is not recorded"),
    (
        "recording.permitted",
        {"number": 1, "parties": [CALLER, AGENT]},
        {},
        "recording 1 permitted for the caller, the agent",
    ),
    ("recording.armed", {"number": 1, "waited_us": 2_300}, {}, "permit 1 is durable and signed, after 2.3 ms"),
    ("recording.blocked", {"reason": "no_key_path"}, {}, "not recorded: a key could not have been heard on this line"),
    (
        "recording.stopped",
        {"number": 1, "reason": "withdrawn", "samples": 12_000, "rate": 8_000, "segments": [{}], "erased": True},
        {},
        "recording 1 stopped because the caller withdrew: 1.5 s kept in 1 segments, erased at once",
    ),
    ("recording.failed", {"number": 1, "reason": "disk_full"}, {}, "recording 1 failed: disk full"),
    ("recording.paused", {"number": 1, "reason": ""}, {}, "recording 1 paused: no reason was given"),
    ("node.clock_stepped", {"step_us": -1_500_000}, {}, "the clock jumped by -1.500 s"),
    ("consent.timed_out", {"timer": "window"}, {}, "the wait for the caller's answer ended"),
]


@pytest.mark.parametrize(
    ("kind", "data", "personal", "words"), SENTENCES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_what_is_said(kind: str, data: dict[str, Any], personal: dict[str, Any], words: str) -> None:
    assert sentence(kind, data, personal) == words


def say(writer: Writer) -> str:
    return headline((event.type, event.data) for event in writer.events)


def erased() -> Writer:
    return recorded().note("recording.erased", recording="x", reason="withdrawn", segments=2)


def unpermitted() -> Writer:
    return cleared().tell(i.Joined(AGENT)).tell(i.Informed(AGENT, True)).tell(i.Left(CALLER, "bye"))


HEADLINES = [
    (recorded, "RECORDED: the caller did not object; it stopped because no reason was given"),
    (refused, "NOT RECORDED: the caller refused"),
    (withdrawn, "RECORDED: the caller withdrew; it stopped because no reason was given"),
    (ledger_gone, "NOT RECORDED: the ledger did not answer in time"),
    (lost, "RECORDED: the caller did not object; it stopped because the worker was lost"),
    (erased, "RECORDED AND ERASED: the caller did not object"),
    (unpermitted, "NOT RECORDED: it was permitted, but no recorder started; the caller did not object"),
    (cleared, "NOT RECORDED: the call reached no agent; the caller did not object"),
    (asked, "NOT RECORDED: the call came to no consent decision"),
]


@pytest.mark.parametrize(("given", "words"), HEADLINES, ids=[words for _, words in HEADLINES])
def test_the_headline(given: Any, words: str) -> None:
    assert say(given()) == words


def test_a_recording_that_runs_and_one_that_was_erased_when_it_stopped() -> None:
    running: list[tuple[str, dict[str, Any]]] = [
        ("consent.decided", {"party": CALLER, "decision": "granted"}),
        ("recording.started", {"number": 1}),
    ]
    assert headline(running) == "RECORDED: the caller agreed; it is running"
    stop: tuple[str, dict[str, Any]] = ("recording.stopped", {"reason": "withdrawn", "erased": True})
    assert headline([*running, stop]) == "RECORDED AND ERASED: the caller agreed"


def test_every_reason_of_the_machine_has_words() -> None:
    """Those it gives by itself; a recorder's or a ledger's own are shown as they are."""
    calls = [
        asked().tell(i.NoticeFailed("file")),
        asked().tell(i.NoticeStarted(0)),
        asked().tell(i.NoticeStarted(9)).tell(i.Held(CALLER)),
        asked().tell(i.NoticeStarted(9)).tell(i.Renegotiated(CALLER)),
        asked().tell(i.Renegotiated(CALLER)),
        cleared().tell(i.Joined(AGENT)).tell(i.NotInformed(AGENT, "x")),
        cleared().tell(i.Preferred(CALLER, Preference.OFF, Source.OPERATOR)),
        ledger_gone(),
    ]
    reasons = [event.data["reason"] for call in calls for event in call.events if event.type == "recording.blocked"]
    assert len(reasons) == 7
    assert set(reasons) <= set(REASONS)


# -- the command -------------------------------------------------------------------------------------------------------


def logged(path: Path, writers: Sequence[Writer]) -> Home:
    home = make_home(path)
    for writer in writers:
        people = {"caller": "sip:+4930@example.org", "dialled": "100"}
        home.append([Entry(e.type, e.call, e.data, people if e.type == "call.received" else {}) for e in writer.events])
    return home


def run(home: Home, *words: str) -> Result:
    return CliRunner().invoke(main, ["call", *words, "--db", str(home.db)])


def test_the_list_names_every_call_oldest_first(tmp_path: Path) -> None:
    second = CALL[:-1] + "7"
    home = logged(tmp_path, [recorded(call=CALL), asked(call=second)])
    lines = run(home, "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [CALL, second]
    assert "completed recorded     sales: sip:+4930@example.org → 100" in lines[0]
    assert "running   not recorded" in lines[1]
    assert [json.loads(line)["call"] for line in run(home, "list", "--json").stdout.splitlines()] == [CALL, second]
    assert run(home, "list", "--limit", "1").stdout.split()[0] == second


def test_an_empty_log_says_so_beside_the_data(tmp_path: Path) -> None:
    result = run(make_home(tmp_path), "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no calls yet\n")


def test_a_call_reads_as_a_timeline(tmp_path: Path) -> None:
    home = logged(tmp_path, [recorded(call=CALL)])
    result = run(home, "show", CALL[:8])
    first, verdict, blank, *lines = result.stdout.splitlines()
    assert (first, blank) == (f"call {CALL}", "")
    assert verdict.startswith("RECORDED: the caller did not object")
    assert "+0.000  call from sip:+4930@example.org to 100" in lines[0]
    assert "+3.080  the caller did not object by silence" in lines[6]
    assert len(lines) == len(recorded().events)
    assert run(home, "show", CALL[-END:]).stdout == result.stdout  # as ivr top shows it


def test_a_call_for_programs(tmp_path: Path) -> None:
    value = json.loads(run(logged(tmp_path, [recorded(call=CALL)]), "show", CALL, "--json").stdout)
    assert (value["call"], value["headline"][:9]) == (CALL, "RECORDED:")
    assert value["events"][0]["sentence"].startswith("call from")


def test_a_call_that_is_not_there_could_not_be_shown(tmp_path: Path) -> None:
    result = run(make_home(tmp_path), "show", "0123")
    assert result.exit_code == 2
    assert "ivr call list" in result.stderr
