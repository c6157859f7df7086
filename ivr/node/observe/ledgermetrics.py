# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics that the ledger counts: it sees every durable event, whichever worker wrote it."""

from collections.abc import Callable, Iterable

from ivr.histogram import Histogram
from ivr.node.observe.metric import Metric, Observed, Sample, counter, gauge, histogram
from ivr.node.observe.snapshot import Snapshot


def _counted(name: str) -> Callable[[Snapshot], Iterable[Sample]]:
    def read(snapshot: Snapshot) -> Iterable[Sample]:
        if snapshot.ledger is not None:
            for key, n in snapshot.ledger["counts"].get(name, []):
                yield tuple(map(str, key)), float(n)
            # There from the start, where there is nothing to tell apart: a rate over nothing alerts nobody.
            if not snapshot.ledger["counts"].get(name) and name in _UNLABELLED:
                yield (), 0.0

    return read


def _observed(name: str) -> Callable[[Snapshot], Iterable[Observed]]:
    def read(snapshot: Snapshot) -> Iterable[Observed]:
        if snapshot.ledger is not None:
            yield (), Histogram.of(snapshot.ledger["histograms"][name])

    return read


def _state(name: str) -> Callable[[Snapshot], Iterable[Sample]]:
    def read(snapshot: Snapshot) -> Iterable[Sample]:
        if snapshot.ledger is not None:
            yield (), float(snapshot.ledger[name])

    return read


def _events(snapshot: Snapshot) -> Iterable[Sample]:
    if snapshot.ledger is not None:
        for kind, n in sorted(snapshot.ledger["events"].items()):
            yield (str(kind),), float(n)


def _up(snapshot: Snapshot) -> Iterable[Sample]:
    yield (), float(snapshot.ledger is not None)


def _writing(snapshot: Snapshot) -> Iterable[Sample]:
    yield (), float(snapshot.ledger is not None and bool(snapshot.ledger["writing"]))


_UNLABELLED = frozenset({"recordings_started", "bridges_started"})

LEDGER: tuple[Metric, ...] = (
    gauge("assent_ledger_up", "Whether the ledger answers within a second.", _up),
    gauge(
        "assent_ledger_writing", "Whether the ledger answers and can write; 0 means that nobody is recorded.", _writing
    ),
    gauge(
        "assent_ledger_start_time_seconds",
        "When the ledger started and its counters began, since 1970.",
        _state("since"),
    ),
    gauge("assent_ledger_queue_events", "Events that are on their way to the disk.", _state("queue")),
    gauge("assent_ledger_queue_age_seconds", "How long the oldest of them has waited.", _state("oldest_s")),
    gauge("assent_ledger_log_events", "Events in the log.", _state("size")),
    gauge("assent_ledger_unsealed_events", "Events that no checkpoint covers yet.", _state("unsealed")),
    gauge(
        "assent_ledger_unsealed_seconds", "How long the oldest of them has waited; 0 for none.", _state("unsealed_s")
    ),
    gauge(
        "assent_ledger_checkpoint_age_seconds",
        "Time since the newest checkpoint of this run; it grows while there is nothing to cover.",
        _state("checkpoint_age_s"),
    ),
    gauge("assent_ledger_workers", "Workers that are connected to the ledger.", _state("workers")),
    histogram(
        "assent_ledger_commit_seconds",
        "From an event's arrival at the ledger to its being durable.",
        _observed("commit"),
    ),
    histogram(
        "assent_permit_wait_seconds", "How long a worker waited for a permit to come back durable.", _observed("permit")
    ),
    counter("assent_events_total", "Durable events by type, as in docs/reference/events.md.", _events, ("type",)),
    counter("assent_calls_received_total", "Calls that were taken, by flow.", _counted("calls_received"), ("flow",)),
    counter(
        "assent_calls_ended_total",
        "Calls that are over, by outcome (completed, abandoned, rejected, failed, lost) and reason.",
        _counted("calls_ended"),
        ("outcome", "reason"),
    ),
    histogram("assent_call_seconds", "Length of calls from INVITE to end.", _observed("length")),
    counter(
        "assent_consent_decisions_total",
        "What parties decided, by mode and by how it was said.",
        _counted("consent_decisions"),
        ("decision", "mode", "source"),
    ),
    counter(
        "assent_consent_withdrawals_total",
        "Withdrawals, by how they were said.",
        _counted("consent_withdrawals"),
        ("source",),
    ),
    counter(
        "assent_consent_timeouts_total",
        "Waits of the consent machine that ran out.",
        _counted("consent_timeouts"),
        ("timer",),
    ),
    counter(
        "assent_consent_faults_total",
        "Calls that were not recorded because what the server knew contradicted itself.",
        _counted("consent_faults"),
        ("reason",),
    ),
    counter(
        "assent_notices_total",
        "Notices by result: completed, interrupted or failed, and why.",
        _counted("notices"),
        ("result", "reason"),
    ),
    counter(
        "assent_agent_notices_total",
        "Whether the agent heard to the end if the call is recorded: completed or not_informed, and why.",
        _counted("agent_notices"),
        ("result", "reason"),
    ),
    counter("assent_recordings_permitted_total", "Permits.", _counted("recordings_permitted"), ("reason",)),
    counter("assent_recordings_started_total", "Recordings that kept a first sample.", _counted("recordings_started")),
    counter(
        "assent_recordings_blocked_total",
        "Calls that got no permit for a reason that is nobody's refusal.",
        _counted("recordings_blocked"),
        ("reason",),
    ),
    counter(
        "assent_recordings_failed_total",
        "Recordings whose recorder failed after the permit: disk, key, media.",
        _counted("recordings_failed"),
        ("reason",),
    ),
    counter("assent_recordings_paused_total", "Pauses of recordings.", _counted("recordings_paused"), ("reason",)),
    counter("assent_recordings_stopped_total", "Recordings that ended.", _counted("recordings_stopped"), ("reason",)),
    counter(
        "assent_recordings_erased_total", "Recordings that were erased.", _counted("recordings_erased"), ("reason",)
    ),
    counter("assent_bridges_started_total", "Callers that were connected to an agent.", _counted("bridges_started")),
    counter(
        "assent_bridges_failed_total",
        "Targets that did not take a call, by final SIP status and reason.",
        _counted("bridges_failed"),
        ("status", "reason"),
    ),
    counter(
        "assent_ledger_unreachable_total",
        "Calls that met no ledger, or one that refused; said by workers once it was back.",
        _counted("ledger_unreachable"),
        ("reason",),
    ),
)
