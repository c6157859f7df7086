# SPDX-License-Identifier: GPL-3.0-or-later
"""Alarms as gauges in the Prometheus text format (version 0.0.4), as node_exporter's textfile collector reads it."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from ivr.audit.watch import Alarm, Raised


def prometheus(raised: Iterable[Raised], looked: datetime) -> str:
    """One sample for every kind of alarm, 0 too: who alerts on it must see that it was looked at, and when."""
    count = Counter(one.alarm for one in raised)
    lines = [
        "# HELP assent_alarms Alarms that stand, by kind; all are to be 0.",
        "# TYPE assent_alarms gauge",
        *(f'assent_alarms{{alarm="{alarm}"}} {count[alarm]}' for alarm in Alarm),
        "# HELP assent_watch_time_seconds When log and files were looked at, in seconds since 1970.",
        "# TYPE assent_watch_time_seconds gauge",
        f"assent_watch_time_seconds {int(looked.timestamp())}",
    ]
    return "".join(f"{line}\n" for line in lines)
