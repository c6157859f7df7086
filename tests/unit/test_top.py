# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr top`: what the screen shows fits into 80 by 24, counts what does not, and says why a call is not recorded."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from ivr.cli import main
from ivr.histogram import Histogram
from ivr.node.initialise import initialise
from ivr.node.observe.frame import frame, quantile
from ivr.node.observe.screen import screen
from ivr.node.observe.snapshot import Snapshot
from observe_kit import CALL, call, edge, ledger, pool, snapshot, worker


def shown(node: Snapshot, *problems: str, width: int = 80, height: int = 24) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=False)
    console.print(screen(frame(node, list(problems)), width, height))
    return out.getvalue().splitlines()


def crowd(workers: int) -> dict[str, Any]:
    calls = [call(n, since=900.0 + n) for n in range(2 * workers)]
    return pool(*(worker(f"w{n}", *calls[2 * n : 2 * n + 2]) for n in range(workers)))


def test_a_recorded_call_says_who_is_recorded() -> None:
    (line,) = [line for line in shown(snapshot()) if CALL[-12:-4] in line]
    assert line.split() == [f"{CALL[-12:-4]}0000", "support", "bridged", "1:00", "yes", "caller+agent", "w0"]


def test_a_call_that_is_not_recorded_says_why() -> None:
    one = call(recorded="no", parties=[], reason="notice_interrupted", state="bridged")
    (line,) = [line for line in shown(snapshot(pool=pool(worker("w0", one)))) if CALL[-12:-4] in line]
    assert "no" in line.split()
    assert "notice interrupted" in line


def test_at_80_columns_long_words_cost_neither_the_id_nor_who_is_recorded_nor_the_worker() -> None:
    one = call(flow="a-flow-with-a-very-long-name-that-goes-on", state="withdrawing", recorded="stopping") | {
        "reason": "agent_not_informed_and_then_some_more_words"
    }
    lines = shown(snapshot(pool=pool(worker("w124", one | {"worker": "w124"}))))
    (line,) = [line for line in lines if CALL[-12:-4] in line]
    assert line.split()[0] == one["call"][-12:]
    assert "withdrawing" in line
    assert "stopping caller+agent" in line
    assert line.split()[-1] == "w124"
    assert "a-flow…" in line
    assert "agent …" in line
    assert next(line for line in lines if "flow" in line).startswith("call ends in  flow")


def test_at_80_columns_what_is_wrong_comes_before_what_merely_happened() -> None:
    busy = ledger()
    busy["counts"]["calls_ended"] = [
        [[outcome, "hangup"], 1_234_567] for outcome in ("completed", "abandoned", "rejected", "failed", "lost")
    ]
    busy["counts"]["recordings_blocked"], busy["counts"]["recordings_failed"] = [[["ledger"], 31]], [[["disk"], 32]]
    counters = {"calls": 12_345, "full": 41, "failovers": 44, "refused_trunk": 42, "strangers": 43}
    node = snapshot(ledger=busy, wants_edge=True, edge=edge(**counters))
    lines = shown(replace(node, origin="a-very-long-name.example.org/" + "x" * 60))
    head = "\n".join(lines[:6])
    for said in ("blocked 31", "failed 32", "12345 calls since start", "full 41", "refused 42", "strangers 43"):
        assert said in head
    assert "failovers 44" in head
    assert "10.0 GB free" in head
    assert "q: quit" in lines[0]


def test_a_problem_is_told_to_its_end_where_there_is_room_and_the_others_are_counted() -> None:
    long = "node: no pool manager answers at /var/lib/ivr/run/pool/control.sock: no such file; is the server running?"
    lines = shown(snapshot(), long)
    assert " ".join(" ".join(line.removeprefix("ALARM").split()) for line in lines[4:6]) == long
    many = shown(snapshot(), *[f"{n}: " + "word " * 40 for n in range(9)])
    said = next(line for line in many if "more" in line)
    assert said.endswith("and 7 more")
    assert "…" in said


def test_a_wide_terminal_shows_the_whole_id() -> None:
    assert any(call(0)["call"] in line for line in shown(snapshot(), width=120))


@pytest.mark.parametrize("size", [(80, 24), (100, 40), (200, 60), (80, 12)])
@pytest.mark.parametrize("workers", [1, 10, 125])
@pytest.mark.parametrize("problems", [0, 1, 30])
def test_it_fits_and_counts_what_does_not(size: tuple[int, int], workers: int, problems: int) -> None:
    width, height = size
    wrong = [f"problem {n} " + "x" * 100 for n in range(problems)]
    lines = shown(snapshot(pool=crowd(workers)), *wrong, width=width, height=height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    rows = sum(" bridged " in line for line in lines)
    text = "\n".join(lines)
    assert rows == 2 * workers or f"and {2 * workers - rows} more" in text
    if height < 16:
        return  # no room for workers
    listed = sum(line.startswith("w") and " ready " in line for line in lines)
    assert listed == workers or f"and {workers - listed} more: {workers - listed} ready" in text


def test_what_is_wrong_is_said_first() -> None:
    lines = shown(snapshot(ledger=None, ledger_error="gone"), "ledger: gone")
    assert "does not answer" in lines[2]
    assert any(line.startswith("ALARM") and "ledger: gone" in line for line in lines[:6])
    assert not any("alarms" in line for line in lines)


def test_nothing_at_all_is_shown_without_a_traceback() -> None:
    lines = shown(snapshot(pool=None, ledger=None, free_bytes=None), "node: no pool manager answers")
    assert "unknown" in lines[0]


def test_the_edge_has_its_line() -> None:
    assert any("full 2" in line for line in shown(snapshot(wants_edge=True, edge=edge(full=2))))


def test_latencies_are_those_since_the_earlier_frame() -> None:
    before = snapshot(ledger=ledger(since=1.0))
    after = snapshot(ledger=ledger(since=1.0))
    slow, fast = Histogram((0.01, 1.0)), Histogram((0.01, 1.0))
    for _ in range(10):
        slow.observe(0.5)
        fast.observe(0.5)
    fast.observe(0.005)
    assert before.ledger is not None
    assert after.ledger is not None
    before.ledger["histograms"]["commit"] = slow.as_json()
    after.ledger["histograms"]["commit"] = fast.as_json()
    assert frame(after, [], before)["ledger"]["commit"]["p95"] < 0.01
    assert frame(after, [])["ledger"]["commit"]["p95"] > 0.1
    after.ledger["since"] = 2.0  # it started again: the earlier figures are of another run
    assert frame(after, [], before)["ledger"]["commit"]["p95"] > 0.1


def test_quantiles() -> None:
    histogram = Histogram((1.0, 2.0, 4.0))
    assert quantile(histogram, 0.5) is None
    for value in (0.5, 1.5, 1.5, 3.0):
        histogram.observe(value)
    assert quantile(histogram, 0.5) == 1.5
    assert quantile(histogram, 0.25) == 1.0
    histogram.observe(100.0)
    assert quantile(histogram, 1.0) == 4.0


def test_a_server_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    initialise(tmp_path / "server", "example.org/log")
    done = CliRunner().invoke(main, ["top", "--once", "--config", str(tmp_path / "server")])
    assert done.exit_code == 2
    assert "nothing of this server answers" in done.output


def test_a_live_view_needs_a_terminal(tmp_path: Path) -> None:
    initialise(tmp_path / "server", "example.org/log")
    done = CliRunner().invoke(main, ["top", "--config", str(tmp_path / "server")])
    assert done.exit_code == 2
    assert "--once" in done.output
