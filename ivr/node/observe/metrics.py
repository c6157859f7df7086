# SPDX-License-Identifier: GPL-3.0-or-later
"""All metrics of a node, in Prometheus's text format."""

from prometheus_client import CollectorRegistry, generate_latest

from ivr.node.observe.frontmetrics import FRONT
from ivr.node.observe.ledgermetrics import LEDGER
from ivr.node.observe.metric import Collected
from ivr.node.observe.nodemetrics import NODE
from ivr.node.observe.poolmetrics import POOL
from ivr.node.observe.snapshot import Snapshot

METRICS = (*POOL, *LEDGER, *NODE, *FRONT)

WATCHED = {
    "assent_alarms": "Alarms of `ivr log watch` that stand, by kind; all are to be 0.",
    "assent_watch_time_seconds": "When log and files were looked at for them, since 1970.",
}
"""What the gauges of ivr.audit.gauges are called; they are served as `ivr log watch` prints them."""


def text_of(snapshot: Snapshot) -> bytes:
    """The text format, version 0.0.4. A metric whose part does not answer is left out, not 0."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected(METRICS, snapshot))
    return generate_latest(registry) + snapshot.alarms.encode()


def table() -> str:
    """All metrics as a Markdown table, as docs/operate/monitoring.md has it."""
    rows = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    for name, help in WATCHED.items():
        rows.append(f"| `{name}` | gauge | {'`alarm`' if name == 'assent_alarms' else ''} | {help} |")
    return "\n".join(rows)
