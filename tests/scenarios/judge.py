# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of a scenario, as text, and the omnibus check that ends every one of them."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from ivr.audit.files import check_files
from ivr.audit.replay import replay
from ivr.audit.source import LogSource
from ivr.audit.verify import verify_log
from ivr.consent.machines import MACHINES, NEWEST
from ivr.consent.permit import Answer, may_record
from ivr.consent.record import event_input
from ivr.ledger.event import Event, peek
from ivr.ledger.keys import load_vkey
from ivr.vault.open import OpenRecording
from ivr.vault.sealing import load_identities
from ivr.vault.store import RecordingStore
from scenarios.fakesip import TICKS_A_SECOND
from scenarios.stage import Outcome

LATE_MS = 10
"""Promise 4 allows 40 ms from the key to the last sample kept; without a network between them, not one tick."""

# What a reader has to see of an event; all else (hashes, counts, times) is checked by verification and replay.
# fmt: off
SHOWN = (
    "flow", "party", "target", "source", "value", "key", "decision", "number",
    "parties", "recorded", "timer", "status", "reason", "outcome", "erased",
)
# fmt: on


def events_of(folder: Path) -> list[Event]:
    """Every event of the log, in order."""
    with LogSource(folder / "data/log.sqlite") as source:
        return [peek(row.jws) for row in source.rows()]


def line_of(event: Event) -> str:
    """`party.left             party=caller reason=hangup`."""
    shown = []
    for name in SHOWN:
        if name in event.data:
            value = event.data[name]
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()
            shown.append(f"{name}={text}")
    return f"{event.type:<22} {' '.join(shown)}".rstrip()


def came_of(outcome: Outcome) -> dict[str, list[str]]:
    """The sections of a scenario file as they came out. Events of other callers are left out."""
    events = events_of(outcome.folder)
    calls = [event.call for event in events if event.type == "call.received"]
    first = calls[0] if calls else None
    told = {f"{name} hears": heard for name, heard in outcome.spoken.items()}
    return {
        "log": [line_of(event) for event in events if event.call == first and first is not None],
        **{name: heard for name, heard in told.items() if heard},
        "recordings": list(recordings_of(outcome, events)),
        "other callers": ["taken" if status is None else str(status) for status in outcome.rejected[1:]],
    }


def recordings_of(outcome: Outcome, events: list[Event]) -> Iterator[str]:
    """One line for each recording that was opened, with what is on the disk of it now."""
    for event in events:
        if event.type != "recording.started":
            continue
        name = str(event.data["recording"])
        number = event.data["number"]
        stopped = next((e for e in events if e.type == "recording.stopped" and e.data["recording"] == name), None)
        store = store_of(outcome)
        if not store.key_file(name).exists():
            yield f"{number}: erased"
            continue
        audio = audio_of(outcome, store, str(event.call), name)
        seconds = len(audio) / 8_000
        spans = stopped.data["spans"] if stopped else []
        assert isinstance(spans, list)
        yield f"{number}: {seconds:.1f} s kept" + (f" in {len(spans)} spans" if len(spans) != 1 else "")


def store_of(outcome: Outcome) -> RecordingStore:
    return RecordingStore(outcome.folder / "data/recordings", outcome.folder / "data/keystore", None)


def audio_of(outcome: Outcome, store: RecordingStore, call: str, recording: str) -> np.ndarray:
    return OpenRecording(store, call, recording, load_identities(outcome.officer)).audio()


def judge(outcome: Outcome) -> None:
    """After every scenario, whatever it was about."""
    assert outcome.left_over == []
    events = events_of(outcome.folder)
    with LogSource(outcome.folder / "data/log.sqlite") as source:
        report = verify_log(source, load_vkey(outcome.folder / "keys"))
    assert [str(finding) for finding in report.findings] == []
    assert [str(finding) for finding in check_files(outcome.folder / "data/recordings", report.recordings)] == []
    assert store_of(outcome).strays() == []
    replayed = replay(events)
    assert [str(difference) for difference in replayed.differences] == []
    assert replayed.open_calls == 0
    for call, own in groupby(sorted((e for e in events if e.call), key=lambda e: (e.call, e.seq)), lambda e: e.call):
        _call_is_told_in_order(list(own))
        del call
    for event in events:
        if event.type == "recording.started":
            _only_what_was_cleared(outcome, events, event)


def _call_is_told_in_order(events: list[Event]) -> None:
    assert events[0].type == "call.received"
    assert events[-1].type in ("call.ended", "call.lost")
    assert sum(event.type in ("call.ended", "call.lost") for event in events) == 1
    times = [int(str(event.data["at_ms"])) for event in events]
    assert times == sorted(times), "the call's own clock goes back"


def cleared(events: list[Event]) -> list[tuple[int, int]]:
    """The times (ms of the call) between which the one gate said yes, from the logged inputs alone."""
    machine = MACHINES[NEWEST]
    state, spans, since = machine.initial(), [], None
    for event in events:
        told = event_input(event.type, event.data)
        if told is None:
            continue
        at_ms = int(str(event.data["at_ms"]))
        state, _ = machine.step(state, told, at_ms)
        yes = may_record(state).answer is Answer.YES
        if yes and since is None:
            since = at_ms
        elif not yes and since is not None:
            spans.append((since, at_ms))
            since = None
    return spans


def _only_what_was_cleared(outcome: Outcome, events: list[Event], started: Event) -> None:
    """Each sample bears the time at which it was heard; a permit and every party's clearance were in force then."""
    store, call, name = store_of(outcome), str(started.call), str(started.data["recording"])
    if not store.key_file(name).exists():
        assert any(e.type == "recording.erased" and e.data["recording"] == name for e in events)
        return
    own = [event for event in events if event.call == call]
    permitted = next(e for e in own if e.type == "recording.permitted" and e.data["recording"] == name)
    assert permitted.seq < started.seq
    armed_ms = next(int(str(e.data["at_ms"])) for e in own if e.type == "recording.armed" and e.seq > permitted.seq)
    audio = audio_of(outcome, store, call, name)
    assert (audio[:, 0] == audio[:, 1]).all(), "left and right were not heard at the same time"
    allowed = cleared(own)
    for tick in np.unique(np.ascontiguousarray(audio[:, 0]).view(np.uint16)):
        at_ms = int(tick) * 1000 // TICKS_A_SECOND - outcome.began_ms
        inside = [start <= at_ms + 20 and at_ms <= end + LATE_MS for start, end in allowed]
        assert any(inside), f"a sample of {at_ms} ms, cleared were {allowed}"
        assert at_ms + 20 >= armed_ms, f"a sample of {at_ms} ms, the permit was armed at {armed_ms} ms"
