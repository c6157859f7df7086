# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator should look at now, in words; the alert rules say the same to whoever is not looking."""

from collections.abc import Iterator

from ivr.node.observe.readiness import missing
from ivr.node.observe.snapshot import Snapshot
from ivr.node.settings import Settings

QUEUE_AGE_S = 1.0
LAG_S = 5.0
CHECKPOINT_GRACE_S = 30.0
CERTIFICATE_S = 14 * 86_400.0


def problems(snapshot: Snapshot, settings: Settings, alarms: dict[str, int]) -> list[str]:
    """The worst first. `alarms`: how many of each kind of `ivr log watch` stand."""
    return [
        *(f"{one.what}: {one.why}" for one in missing(snapshot)),
        *_ledger(snapshot, settings.ledger.checkpoint.interval.seconds),
        *_recording(snapshot, settings.storage.min_free * 1_000_000),
        *(f"ivr log watch: {count} × {alarm}" for alarm, count in alarms.items() if count),
        *(f"archive: {alarm}" for alarm in (snapshot.archive.alarms if snapshot.archive else ())),
        *([f"archive: {snapshot.archive_error}"] if snapshot.archive_error else ()),
        *_certificate(snapshot),
    ]


def _ledger(snapshot: Snapshot, interval_s: float) -> Iterator[str]:
    ledger = snapshot.ledger
    if ledger is None:
        return
    if ledger["oldest_s"] > QUEUE_AGE_S:
        yield f"ledger: {ledger['queue']} events wait, the oldest for {ledger['oldest_s']:.1f} s"
    if ledger["unsealed_s"] > interval_s + CHECKPOINT_GRACE_S:
        yield f"ledger: events wait for a checkpoint for {ledger['unsealed_s']:.0f} s"


def _recording(snapshot: Snapshot, min_free: int) -> Iterator[str]:
    lag = max(snapshot.lags, default=0.0)
    if lag > LAG_S:
        yield f"recording: {lag:.1f} s of audio are not sealed; is the disk slow?"
    free = snapshot.free_bytes
    if free is not None and free < min_free:
        yield f"disk: {free / 1e6:.0f} MB are free, below {min_free / 1e6:.0f} MB nothing is recorded"


def _certificate(snapshot: Snapshot) -> Iterator[str]:
    until = snapshot.certificate_until
    if until is not None and until - snapshot.at < CERTIFICATE_S:
        yield f"edge: its certificate runs out in {(until - snapshot.at) / 86_400:.0f} days"
