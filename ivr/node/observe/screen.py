# SPDX-License-Identifier: GPL-3.0-or-later
"""A frame of `ivr top` as text for a terminal of any size; 80 by 24 is enough."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Frame = Mapping[str, Any]

WIDE = 110
"""From this width on a call's whole id is shown, else its end: calls of one minute begin alike."""

END = 12
"""Digits of that end."""

NAME = 8
"""Columns of what a line above is about."""

FLOW = 16
"""Columns of a flow's name where there is no room for all: why a call is not recorded matters more."""

HEAD = 7
"""Lines above without the edge's, the blank one, the heading of the calls and the count of those that do not fit."""

WITH_WORKERS = 16
"""In fewer lines there is no room for workers beside calls."""

_STATE = {"ready": "green", "draining": "yellow", "stopping": "yellow", "starting": "yellow"}
_RECORDED = {"yes": "bold red", "paused": "yellow", "starting": "yellow", "stopping": "yellow", "no": "dim"}


def screen(frame: Frame, width: int, height: int) -> RenderableType:
    """The whole view. What does not fit is counted or ends in `…`, never cut off without a word."""
    problems = _problems(frame["problems"], width, max(1, height // 6))
    edge = [] if frame["edge"] is None else [_edge_line(frame["edge"])]
    left = height - HEAD - len(edge) - len(problems)
    workers = frame["workers"]
    rows = min(len(workers), max(1, left // 4)) if height >= WITH_WORKERS else 0
    below = [Text(), _workers(workers, rows)] if rows else []
    return Group(
        _title(frame),
        _calls_line(frame),
        _ledger_line(frame),
        *edge,
        _node_line(frame),
        *problems,
        Text(),
        _calls(frame, width, max(1, left - (rows + 3 if rows else 0))),
        *below,
    )


def _title(frame: Frame) -> Text:
    state = frame["state"]
    text = Text("assent ", style="bold", no_wrap=True, overflow="ellipsis")
    text.append(state, style=_STATE.get(state, "bold red"))
    text.append(f"  {datetime.fromtimestamp(frame['at']).astimezone():%H:%M:%S}  {frame['version']}", style="dim")
    text.append(f"  q: quit  {frame['log'] or '?'}", style="dim")  # a log's name may be long
    return text


def _calls_line(frame: Frame) -> Text:
    recorded = sum(call["recorded"] == "yes" for call in frame["calls"])
    text = _line("calls", f"{len(frame['calls'])} of {frame['capacity']}", f"{recorded} recorded")
    ledger = frame["ledger"]
    if ledger:
        ended = Counter[str]()
        for key, n in ledger["ended"].items():
            ended[key.partition("/")[0]] += n
        text.append(f"  blocked {ledger['blocked']}", style="yellow" if ledger["blocked"] else "")
        text.append(f"  failed {ledger['failed']}", style="red" if ledger["failed"] else "")
        text.append("  ended ")
        text.append(", ".join(f"{n} {outcome}" for outcome, n in ended.most_common()) or "none")
    return text


def _ledger_line(frame: Frame) -> Text:
    ledger = frame["ledger"]
    if ledger is None:
        return _line("ledger", Text("does not answer", style="bold red"))
    return _line(
        "ledger",
        "writing" if ledger["writing"] else Text("CANNOT WRITE", style="bold red"),
        f"queue {ledger['queue']}",
        f"commit {_ms(ledger['commit'])}",
        f"permit {_ms(ledger['permit'])}",
        f"sealed {ledger['checkpoint_age_s']:.0f} s ago",
    )


def _edge_line(edge: Frame) -> Text:
    counters = edge["counters"]
    refused = sum(n for name, n in counters.items() if name.startswith("refused"))
    return _line(
        "edge",
        f"{counters['calls']} calls since start",
        f"full {counters['full']}",
        f"refused {refused}",
        f"strangers {counters['strangers']}",
        f"failovers {counters['failovers']}",
    )


def _node_line(frame: Frame) -> Text:
    free = frame["free_bytes"]
    return _line("disk", f"{free / 1e9:.1f} GB free" if free is not None else "?")


def _problems(problems: Sequence[str], width: int, rows: int) -> list[Text]:
    """In so many lines. A problem takes as many as it needs; the last line counts those that have none."""
    if not problems:
        return [_line("alarms", Text("none", style="green"))]
    lines: list[Text] = []
    shown = 0
    for problem in problems:
        if len(lines) == rows:
            break
        shown += 1
        parts = textwrap.wrap(problem, max(1, width - NAME))[: rows - len(lines)]
        cut = len(" ".join(parts)) < len(" ".join(problem.split()))
        for part in parts:
            more = " …" if cut and part is parts[-1] else ""
            lines.append(_line("" if lines else "ALARM", Text(part + more, style="bold red")))
    if shown < len(problems):
        more = f"   and {len(problems) - shown} more"
        lines[-1].truncate(width - len(more), overflow="ellipsis")
        lines[-1].append(more, style="red")
    return lines


def _line(name: str, *parts: str | Text) -> Text:
    text = Text(f"{name:<{NAME}}", style="bold", no_wrap=True, overflow="ellipsis")
    for place, part in enumerate(parts):
        text.append("  " if place else "")
        text.append_text(part if isinstance(part, Text) else Text(part, style="not bold"))
    return text


def _calls(frame: Frame, width: int, rows: int) -> RenderableType:
    wide = width >= WIDE
    table = _table("call" if wide else "call ends in", "flow", "doing", "for", "recorded", "why", "by")
    # What says which call it is, whether it is recorded and by which worker is never cut.
    for column in table.columns:
        column.no_wrap = column.header not in ("flow", "why")
    calls = frame["calls"]
    for call in calls[:rows]:
        recorded = call["recorded"]
        who = "+".join(_short(party) for party in call["parties"])
        table.add_row(
            call["call"] if wide else call["call"][-END:],
            _one_line(call["flow"], width if wide else FLOW),
            call["state"],
            _time(frame["at"] - call["since"]),
            Text(f"{recorded} {who}".strip(), style=_RECORDED.get(recorded, "")),
            _one_line("" if recorded == "yes" else call["reason"].replace("_", " "), width),
            call["worker"],
        )
    if not calls:
        return Group(table, Text("no calls", style="dim"))
    if len(calls) > rows:
        return Group(table, Text(f"and {len(calls) - rows} more: a higher terminal, or --json", style="dim"))
    return table


def _one_line(text: str, width: int) -> Text:
    shown = Text(text, no_wrap=True, overflow="ellipsis")
    shown.truncate(width, overflow="ellipsis")
    return shown


def _short(party: str) -> str:
    return "agent" if party == "agent-1" else party


def _workers(workers: Sequence[Mapping[str, Any]], rows: int) -> RenderableType:
    table = _table("worker", "state", "calls", "served", "memory", "age", "last beat")
    for worker in workers[:rows]:
        state = worker["leaving"] or worker["state"]
        table.add_row(
            worker["name"],
            Text(state, style=_STATE.get(worker["state"], "red")),
            str(worker["calls"]),
            str(worker["served"]),
            f"{worker['rss'] / 1e6:.0f} MB",
            _time(worker["age_s"]),
            Text(f"{worker['silent_s']:.1f} s", style="red" if worker["silent_s"] > 1 else ""),
        )
    if len(workers) > rows:
        states = Counter(str(worker["state"]) for worker in workers[rows:])
        more = ", ".join(f"{n} {state}" for state, n in states.most_common())
        return Group(table, Text(f"and {len(workers) - rows} more: {more}", style="dim"))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), expand=False, header_style="bold dim")
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    return table


def _ms(quantiles: Mapping[str, float | None]) -> str:
    """Median and 95th percentile."""
    half, most = quantiles["p50"], quantiles["p95"]
    return "-" if half is None or most is None else f"{half * 1000:.0f}/{most * 1000:.0f} ms"


def _time(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
