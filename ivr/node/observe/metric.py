# SPDX-License-Identifier: GPL-3.0-or-later
"""What a metric is: its name, its meaning and where its values come from, in one place. The docs are made from it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from ivr.histogram import Histogram
from ivr.node.observe.snapshot import Snapshot


class Kind(StrEnum):
    """The kinds of Prometheus. A counter begins at 0 when the process that counts starts."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


Sample = tuple[tuple[str, ...], float]
Observed = tuple[tuple[str, ...], Histogram]


@dataclass(frozen=True, slots=True)
class Metric:
    """`read` gives label values and value, or nothing when the part that knows does not answer."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    read: Callable[[Snapshot], Iterable[Sample]] = lambda _snapshot: ()
    observed: Callable[[Snapshot], Iterable[Observed]] = lambda _snapshot: ()

    def family(self, snapshot: Snapshot) -> Family:
        """Its samples, for prometheus_client."""
        if self.kind is Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(self.name, self.help, labels=self.labels)
            for labels, values in self.observed(snapshot):
                histogram.add_metric(labels, _buckets(values), values.sum)
            return histogram
        made = (CounterMetricFamily if self.kind is Kind.COUNTER else GaugeMetricFamily)(
            self.name, self.help, labels=self.labels
        )
        for labels, value in self.read(snapshot):
            made.add_metric(labels, value)
        return made


class Collected(Collector):
    """Some metrics at one moment, for prometheus_client; without those that have nothing to say."""

    def __init__(self, metrics: Iterable[Metric], snapshot: Snapshot) -> None:
        self._metrics = metrics
        self._snapshot = snapshot

    def collect(self) -> Iterable[Family]:
        """A family for each metric."""
        families = (metric.family(self._snapshot) for metric in self._metrics)
        return [family for family in families if family.samples]


def _buckets(values: Histogram) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus wants them; the last bound is infinite."""
    total, made = 0, []
    for bound, count in zip([*values.bounds, None], values.counts, strict=True):
        total += count
        made.append(("+Inf" if bound is None else f"{bound:g}", float(total)))
    return made


def gauge(name: str, help: str, read: Callable[[Snapshot], Iterable[Sample]], labels: tuple[str, ...] = ()) -> Metric:
    """A value of the moment."""
    return Metric(name, Kind.GAUGE, help, labels, read)


def counter(name: str, help: str, read: Callable[[Snapshot], Iterable[Sample]], labels: tuple[str, ...] = ()) -> Metric:
    """A value that only grows until its process starts again."""
    return Metric(name, Kind.COUNTER, help, labels, read)


def histogram(
    name: str, help: str, observed: Callable[[Snapshot], Iterable[Observed]], labels: tuple[str, ...] = ()
) -> Metric:
    """Observations by size."""
    return Metric(name, Kind.HISTOGRAM, help, labels, observed=observed)
