# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboard, alert rules and their page: they speak of metrics that exist, and of all; Prometheus can read them."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs_kit import ROOT
from ivr.node.observe.metric import Kind
from ivr.node.observe.metrics import METRICS, WATCHED, table

FOLDER = ROOT / "config" / "monitoring"
PAGE = ROOT / "docs" / "operate" / "monitoring.md"
PARTS = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}
NAMES = {metric.name + part for metric in METRICS for part in PARTS.get(metric.kind, ("",))} | set(WATCHED)


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text("utf-8"))
    return read


def expressions() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))


def named(expression: str) -> set[str]:
    return set(re.findall(r"assent_\w+", expression))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_speaks_of_metrics_that_exist_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert named(rule["expr"]) <= NAMES
    assert rule["labels"]["severity"] in ("page", "ticket")
    section = PAGE.read_text("utf-8").split(f"\n### {rule['alert']}\n")[1].split("\n#")[0]
    assert "What to do: " in section


def test_no_alert_is_told_of_that_does_not_exist() -> None:
    told = re.findall(r"^### (Assent\w+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert told == [rule["alert"] for rule in rules()]


def test_every_label_that_is_asked_for_exists() -> None:
    labels = {metric.name: set(metric.labels) | {"instance", "le"} for metric in METRICS} | {
        name: {"instance", "alarm"} for name in WATCHED
    }
    for expression in [*expressions(), *(rule["expr"] for rule in rules())]:
        for name, inside in re.findall(r"(assent_\w+)\{([^}]*)\}", expression):
            base = re.sub(r"_(bucket|count|sum)$", "", name)
            assert set(re.findall(r"(\w+)\s*(?:=~|!=|=)", inside)) <= labels.get(name, labels.get(base, set())), (
                expression
            )


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    shown = {name for expression in expressions() for name in named(expression)}
    assert shown <= NAMES
    shown |= {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    template = dashboard()["templating"]["list"][1]["definition"]
    missing = {metric.name for metric in METRICS} | set(WATCHED)
    assert missing - shown - named(template) == set()


def test_the_dashboard_is_one_that_grafana_takes_and_asks_for_the_chosen_nodes() -> None:
    read = dashboard()
    assert read["schemaVersion"] >= 39
    ids = [panel["id"] for panel in read["panels"]]
    assert len(ids) == len(set(ids))
    for panel in read["panels"]:
        place = panel["gridPos"]
        assert place["x"] in range(24 - place["w"] + 1), panel["title"]
    for expression in expressions():
        assert expression.count('instance=~"$node"') == len(re.findall(r"assent_\w+", expression)), expression


def test_prometheus_reads_the_rules_and_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    _promtool("check", "rules", FOLDER / "alerts.yaml")
    queries = [query.replace("$node", ".*").replace("$__rate_interval", "5m") for query in expressions()]
    recorded = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(queries)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    _promtool("check", "rules", file)


def test_a_query_that_prometheus_cannot_read_is_found(tmp_path: Path) -> None:
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "p", "rules": [{"record": "a:b", "expr": "sum by ("}]}]}))
    with pytest.raises(AssertionError):
        _promtool("check", "rules", file)


SERIES = [
    ("AssentDown", 'up{job="assent",instance="n"}', "0x10"),
    ("AssentLedgerNotWriting", 'assent_ledger_writing{instance="n"}', "0x10"),
    ("AssentCheckpointOverdue", 'assent_ledger_unsealed_seconds{instance="n"}', "150x10"),
    ("AssentRecordingLag", 'assent_recording_lag_seconds{instance="n"}', "6x10"),
    ("AssentEdgeDown", 'assent_edge_up{instance="n"}', "0x10"),
    ("AssentFrontStale", 'assent_front_time_seconds{instance="n"}', "0+0x10"),
    ("AssentNodeSilent", 'assent_front_node_state{instance="n",node="a",state="silent"}', "1x10"),
    ("AssentNodeRefusing", 'assent_front_node_state{instance="n",node="a",state="refusing"}', "1x10"),
    ("AssentNoNodes", 'assent_front_node_state{instance="n",node="a",state="active"}', "0x10"),
    ("AssentWorkersHung", 'assent_worker_ends_total{instance="n",cause="hung"}', "0 0 0 1 1 1 1 1 1 1"),
    ("AssentAlarm", 'assent_alarms{instance="n",alarm="file-missing"}', "1x10"),
]


@pytest.mark.parametrize(("alert", "series", "values"), SERIES)
def test_an_alert_fires_and_only_when_it_should(tmp_path: Path, alert: str, series: str, values: str) -> None:
    quiet = {"0x10": "1x10", "150x10": "50x10", "6x10": "2x10", "1x10": "0x10", "0+0x10": "0+60x10"}.get(values, "3x10")
    for number, (shown, fires) in enumerate(((values, True), (quiet, False))):
        rule = next(rule for rule in rules() if rule["alert"] == alert)
        file = tmp_path / f"{number}.yaml"
        test = {
            "interval": "1m",
            "input_series": [{"series": series, "values": shown}],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                    "eval_time": "8m",
                    "exp_samples": [{"labels": "{}", "value": int(fires)}],
                }
            ],
        }
        content = {"rule_files": [str(FOLDER / "alerts.yaml")], "evaluation_interval": "1m", "tests": [test]}
        file.write_text(yaml.safe_dump(content))
        _promtool("test", "rules", file)
        assert rule["annotations"]["summary"]


def _promtool(*arguments: object) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_has_every_metric_as_the_code_says_it() -> None:
    assert table() in PAGE.read_text("utf-8"), "put ivr.node.observe.metrics.table() into the page"


def test_names_are_those_that_prometheus_asks_for() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"assent_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert metric.help.strip()
        if metric.kind is Kind.HISTOGRAM:
            assert metric.name.endswith(("_seconds", "_ratio")), metric.name
    assert len({metric.name for metric in METRICS}) == len(METRICS)
