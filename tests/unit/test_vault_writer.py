# SPDX-License-Identifier: GPL-3.0-or-later
"""The writer: no permit no recording, every sample exact, nothing after the key, no secret kept."""

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pyrage import x25519

from ivr.calls.drains import DRAIN_S
from ivr.ledger.ids import uuid7
from ivr.ledger.permit import PermitError, VerifiedPermit, verify_permit
from ivr.vault.errors import VaultClosed, VaultError, VaultExists, VaultFull, VaultTooSlow, VaultUnwritable
from ivr.vault.open import OpenRecording
from ivr.vault.sealing import load_identities
from ivr.vault.segments import Audio, Span
from ivr.vault.writer import HOLD_BACK_MS, SEAL_AT_MS, RecordingSummary, RecordingWriter
from vault_kit import Vault, everything, feed, noise, permit, permit_token, vault

RATE = 8000
WAIT = 20
PJMEDIA_BUFFER = 2048
"""Samples that its WAV writer holds until it writes them (4 KiB)."""


@pytest.fixture
def box(tmp_path: Path) -> Vault:
    return vault(tmp_path / "vault")


def read_back(box: Vault, summary: RecordingSummary) -> OpenRecording:
    return OpenRecording(box.store, summary.call, summary.recording, load_identities(box.officer))


class SlowDisk:
    """Holds the sealing thread inside its next write until `go` is set."""

    def __init__(self, box: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.inside = threading.Event(), threading.Event()
        real = box.store.add

        def add(*args: Any) -> Any:
            self.inside.set()
            self.go.wait(WAIT)
            return real(*args)

        monkeypatch.setattr(box.store, "add", add)


@pytest.mark.parametrize("forged", [None, "permit", object(), {"call": uuid7(), "recording": uuid7()}])
def test_no_writer_without_a_verified_permit(box: Vault, forged: Any) -> None:
    with pytest.raises(TypeError, match="VerifiedPermit"):
        RecordingWriter(forged, box.store, RATE)
    assert everything(box.store.recordings) + everything(box.store.keystore) == b""


def test_a_lookalike_or_a_heir_of_the_permit_is_none(box: Vault) -> None:
    real = permit()

    class Lookalike:
        call, recording, parties = real.call, real.recording, real.parties

    with pytest.raises(TypeError, match="VerifiedPermit"):
        RecordingWriter(Lookalike(), box.store, RATE)  # type: ignore[arg-type]
    with pytest.raises(PermitError):
        VerifiedPermit(real.call, real.recording, real.parties, 1, uuid7(), real.jws, object())


def test_a_permit_of_another_call_is_refused() -> None:
    jws, vkey = permit_token(uuid7(), uuid7())
    with pytest.raises(PermitError, match="of call"):
        verify_permit(jws, vkey, call=uuid7())


def test_a_permit_opens_one_recorder_once(box: Vault) -> None:
    cleared = permit()
    first = RecordingWriter(cleared, box.store, RATE)
    key = first.opened.result(WAIT)
    second = RecordingWriter(cleared, box.store, RATE)
    with pytest.raises(VaultExists):
        second.opened.result(WAIT)
    assert second.finish("over").result(WAIT).samples == 0
    feed(first, noise(RATE), noise(RATE))
    summary = first.finish("hangup").result(WAIT)
    assert key.startswith("age1")
    assert len(read_back(box, summary).audio()) == RATE


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("step", [1, 160, 4001, 60_000])
def test_every_sample_is_kept_exactly(box: Vault, rate: int, step: int) -> None:
    length = 300 if step == 1 else 60_007
    caller, agent = noise(length, 1), noise(length, 2)
    writer = RecordingWriter(permit(), box.store, rate, at_ms=1234)
    feed(writer, caller, agent, step)
    summary = writer.finish("hangup").result(WAIT)
    assert (summary.samples, summary.rate, summary.reason, summary.error) == (length, rate, "hangup", None)
    assert summary.spans == (Span(1234, 0, length),)
    assert [s.n for s in summary.segments] == list(range(len(summary.segments)))
    assert all(s.samples <= 2 * rate for s in summary.segments)
    assert list(summary.segments) == box.store.inventory(summary.call, summary.recording)
    opened = read_back(box, summary)
    assert (opened.audio() == np.stack([caller, agent], axis=1)).all()
    assert opened.contents().spans == summary.spans


def test_the_key_is_on_disk_before_any_segment(box: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    from ivr.vault import store

    real = store.write_durably

    def write_durably(path: Path, *args: Any, **kwargs: Any) -> None:
        real(path, *args, **kwargs)
        order.append(path.parent.name)

    monkeypatch.setattr(store, "write_durably", write_durably)
    writer = RecordingWriter(permit(), box.store, RATE)
    feed(writer, noise(3 * RATE), noise(3 * RATE))
    summary = writer.finish("hangup").result(WAIT)
    assert order == ["keystore"] + [summary.recording] * len(summary.segments)
    assert len(summary.segments) > 1


def test_the_callers_buffer_may_change_after_write(box: Vault) -> None:
    buffer = np.full(1000, 5, np.int16)
    writer = RecordingWriter(permit(), box.store, RATE)
    writer.write(buffer, buffer)
    buffer[:] = 6
    assert (read_back(box, writer.finish("hangup").result(WAIT)).audio() == 5).all()


@pytest.mark.parametrize(
    ("caller", "agent"),
    [
        (np.zeros(2, np.int16), np.zeros(3, np.int16)),
        (np.zeros(2, np.int16), np.zeros(2, np.float32)),
        (np.zeros(2, np.uint16), np.zeros(2, np.uint16)),
        (np.zeros((2, 2), np.int16), np.zeros((2, 2), np.int16)),
    ],
)
def test_wrong_arrays_are_refused(box: Vault, caller: Any, agent: Any) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    with pytest.raises(ValueError, match="int16 arrays of one length"):
        writer.write(caller, agent)


def test_a_party_that_is_not_cleared_is_silence(box: Vault) -> None:
    for parties, silent in ((("caller",), 1), (("agent-1",), 0)):
        writer = RecordingWriter(permit(parties=parties), box.store, RATE)
        writer.write(noise(500, 1), noise(500, 2))
        audio = read_back(box, writer.finish("hangup").result(WAIT)).audio()
        assert not audio[:, silent].any()
        assert audio[:, 1 - silent].any()


def test_what_was_said_after_the_key_is_not_kept(box: Vault) -> None:
    caller, agent = noise(5 * RATE, 1), noise(5 * RATE, 2)
    writer = RecordingWriter(permit(), box.store, RATE, at_ms=0)
    feed(writer, caller[: 4 * RATE], agent[: 4 * RATE])
    cut = 4 * RATE - HOLD_BACK_MS * RATE // 1000
    assert writer.truncate(cut) == cut
    # What is drained from the recorder later is too late as well.
    writer.write(caller[4 * RATE :], agent[4 * RATE :])
    summary = writer.finish("withdrawn").result(WAIT)
    assert summary.samples == cut
    assert summary.spans == (Span(0, 0, cut),)
    assert (read_back(box, summary).audio() == np.stack([caller, agent], axis=1)[:cut]).all()


def test_the_hold_back_is_always_there(box: Vault) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    block = noise(160)
    for _ in range(150):
        writer.write(block, block)
        newest = writer.written
        back = min(newest, HOLD_BACK_MS * RATE // 1000)
        assert writer._tail.start <= newest - back
        assert writer._tail.samples < SEAL_AT_MS * RATE // 1000


@pytest.mark.parametrize("heard", range(0, round(DRAIN_S * RATE) + 1, 512))
def test_less_than_two_seconds_are_unsealed_wherever_a_recording_begins_between_two_drains(
    box: Vault, heard: int
) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    flushed = heard // PJMEDIA_BUFFER * PJMEDIA_BUFFER
    writer.write(np.zeros(flushed, np.int16), np.zeros(flushed, np.int16), newer=heard - flushed)
    at_the_next_drain = writer._tail.samples + heard - flushed + DRAIN_S * RATE
    assert at_the_next_drain < 1.95 * RATE  # the rest is for encoding and the disk
    writer.abort(erase=False).result(WAIT)


def test_a_limit_ahead_of_what_was_drained_is_kept_up_to(box: Vault) -> None:
    caller, agent = noise(RATE, 1), noise(RATE, 2)
    writer = RecordingWriter(permit(), box.store, RATE)
    writer.write(caller[:100], agent[:100])
    assert writer.truncate(150) == 100
    writer.write(caller[100:120], agent[100:120])
    assert writer.truncate(10_000) == 120  # a later limit does not lift an earlier one
    writer.write(caller[120:], agent[120:])
    assert writer.finish("withdrawn").result(WAIT).samples == 150


def test_a_cut_into_sealed_audio_keeps_less_never_more(box: Vault) -> None:
    length = 6 * RATE
    caller, agent = noise(length, 1), noise(length, 2)
    writer = RecordingWriter(permit(), box.store, RATE)
    feed(writer, caller, agent)
    wanted = 2 * RATE
    kept = writer.truncate(wanted)
    assert 0 < kept <= wanted
    summary = writer.finish("withdrawn").result(WAIT)
    assert summary.samples == kept
    assert list(summary.segments) == box.store.inventory(summary.call, summary.recording)
    assert (read_back(box, summary).audio() == np.stack([caller, agent], axis=1)[:kept]).all()


def test_a_cut_to_nothing_keeps_nothing(box: Vault) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    feed(writer, noise(4 * RATE), noise(4 * RATE))
    assert writer.truncate(-5) == 0
    summary = writer.finish("withdrawn").result(WAIT)
    assert (summary.samples, summary.segments, summary.spans) == (0, (), ())
    assert everything(box.store.recordings) == b""


def test_pauses_divide_a_recording_into_spans(box: Vault) -> None:
    parts = [(noise(2500, seed), noise(2500, seed + 10)) for seed in range(4)]
    writer = RecordingWriter(permit(), box.store, RATE, at_ms=1000)
    writer.write(*parts[0])
    assert writer.pause() == 2500
    writer.write(*parts[1])  # nobody may hear this
    writer.resume(5000)
    writer.resume(9999)  # not paused: no effect
    writer.write(*parts[2])
    assert writer.pause(to_sample=4000) == 4000
    writer.resume(8000)
    writer.write(*parts[3])
    summary = writer.finish("hangup").result(WAIT)
    assert summary.spans == (Span(1000, 0, 2500), Span(5000, 2500, 1500), Span(8000, 4000, 2500))
    opened = read_back(box, summary)
    kept = [np.stack(parts[0], 1), np.stack(parts[2], 1)[:1500], np.stack(parts[3], 1)]
    assert (opened.audio() == np.concatenate(kept)).all()
    assert opened.contents().spans == summary.spans


def test_a_cut_before_the_last_pause_shortens_the_spans(box: Vault) -> None:
    writer = RecordingWriter(permit(), box.store, RATE, at_ms=0)
    writer.write(noise(RATE), noise(RATE))
    writer.pause()
    writer.resume(3000)
    writer.write(noise(RATE), noise(RATE))
    assert writer.truncate(RATE // 2) == 0  # sealed as one segment at the pause
    summary = writer.finish("withdrawn").result(WAIT)
    assert (summary.samples, summary.spans) == (0, ())


def test_finish_can_be_repeated_and_closes(box: Vault) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    writer.write(noise(10), noise(10))
    done = writer.finish("hangup")
    assert writer.finish("again") is done
    assert writer.abort() is done
    assert done.result(WAIT).reason == "hangup"
    for act in (lambda: writer.write(noise(1), noise(1)), writer.pause, lambda: writer.truncate(0)):
        with pytest.raises(VaultClosed):
            act()
    assert box.store.inventory(writer.call, writer.recording)


def test_a_cancelled_wait_does_not_cancel_the_work(box: Vault) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    writer.write(noise(10), noise(10))
    done: Future[RecordingSummary] = writer.finish("hangup")
    assert not done.cancel()
    assert done.result(WAIT).samples == 10


def test_abort_erases_key_and_files(box: Vault) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    feed(writer, noise(3 * RATE), noise(3 * RATE))
    summary = writer.abort(erase=True).result(WAIT)
    assert summary.erasure is not None
    assert summary.erasure.key_destroyed
    assert summary.erasure.files >= 1
    assert (summary.samples, summary.segments, summary.spans) == (0, (), ())
    assert list(box.store.recordings.iterdir()) == list(box.store.keystore.iterdir()) == []


def test_abort_without_erasing_keeps_what_is_sealed(box: Vault) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    writer.write(noise(RATE, 1), noise(RATE, 2))
    writer.pause()
    writer.resume(2000)
    writer.write(noise(RATE // 4), noise(RATE // 4))
    summary = writer.abort(erase=False, reason="failed").result(WAIT)
    assert (summary.samples, summary.erasure) == (RATE, None)
    assert len(read_back(box, summary).audio()) == RATE


def test_write_never_waits_and_gives_up_on_a_stalled_disk(box: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, told = SlowDisk(box, monkeypatch), list[VaultError]()
    writer = RecordingWriter(permit(), box.store, RATE, on_error=told.append)
    block = noise(1600)
    for _ in range(10):
        writer.write(block, block)
    assert disk.inside.wait(WAIT)

    def flood() -> None:
        for _ in range(100):
            writer.write(block, block)

    with pytest.raises(VaultTooSlow) as caught:
        flood()
    assert told == [caught.value]
    assert writer.unsealed <= 8 * RATE
    with pytest.raises(VaultTooSlow):
        writer.write(block, block)
    disk.go.set()
    summary = writer.finish("failed").result(WAIT)
    assert summary.error is told[0]
    assert len(told) == 1
    # What was being written when it failed is kept and listed; the rest of the backlog is not.
    assert len(summary.segments) == 1
    assert list(summary.segments) == box.store.inventory(summary.call, summary.recording)


def test_an_error_is_told_once_and_what_was_kept_is_listed(box: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    told, real, calls = list[VaultError](), box.store.add, list[int]()

    def add(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise VaultUnwritable("Input/output error", "disk")
        return real(*args)

    monkeypatch.setattr(box.store, "add", add)
    writer = RecordingWriter(permit(), box.store, RATE, on_error=told.append)
    caller, agent = noise(20 * RATE, 1), noise(20 * RATE, 2)
    with pytest.raises(VaultUnwritable):
        feed(writer, caller, agent)
    with pytest.raises(VaultUnwritable):
        writer.resume(1)
    summary = writer.finish("failed").result(WAIT)
    assert (len(told), len(calls), len(summary.segments)) == (1, 3, 2)
    assert summary.error is told[0]
    assert summary.spans == (Span(0, 0, summary.samples),)
    assert (read_back(box, summary).audio() == np.stack([caller, agent], axis=1)[: summary.samples]).all()


def test_a_withdrawal_reaches_back_after_an_error_too(box: Vault) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    feed(writer, noise(6 * RATE), noise(6 * RATE))
    writer._sealer.fail(VaultUnwritable("Input/output error", "disk"))
    writer.truncate(2 * RATE)
    summary = writer.finish("withdrawn").result(WAIT)
    assert 0 < summary.samples <= 2 * RATE
    assert list(summary.segments) == box.store.inventory(summary.call, summary.recording)


def test_a_listener_that_fails_does_not_stop_the_rest(box: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: VaultError) -> None:
        raise RuntimeError("the loop is closed")

    def add(*_: Any) -> Any:
        raise VaultUnwritable("Input/output error", "disk")

    monkeypatch.setattr(box.store, "add", add)
    writer = RecordingWriter(permit(), box.store, RATE, on_error=closed)
    writer.write(noise(10), noise(10))
    writer.pause()
    summary = writer.abort().result(WAIT)
    assert isinstance(summary.error, VaultUnwritable)
    assert summary.erasure is not None


def test_a_fault_of_the_program_ends_the_recording_too(box: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(*_: Any) -> Any:
        raise ZeroDivisionError("bug")

    monkeypatch.setattr(box.store, "add", add)
    writer = RecordingWriter(permit(), box.store, RATE)
    writer.write(noise(10), noise(10))
    summary = writer.finish("hangup").result(WAIT)
    assert isinstance(summary.error, VaultError)
    assert "bug" in str(summary.error)


def test_a_disk_that_refuses_the_key_gives_no_recording(tmp_path: Path) -> None:
    box, told = vault(tmp_path / "v", min_free_bytes=2**62), list[VaultError]()
    writer = RecordingWriter(permit(), box.store, RATE, on_error=told.append)
    with pytest.raises(VaultFull, match="free"):
        writer.opened.result(WAIT)
    assert len(told) == 1
    assert writer.finish("failed").result(WAIT).samples == 0
    assert everything(box.store.recordings) + everything(box.store.keystore) == b""


def reachable(root: object) -> Iterator[object]:
    """Every object that can be reached from `root`, not by way of modules and classes."""
    seen, todo = set[int](), [root]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, ModuleType | type):
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, dict) and "__builtins__" in thing:
            continue
        todo += gc.get_referents(thing)


def test_the_writer_keeps_no_secret(box: Vault) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    feed(writer, noise(3 * RATE), noise(3 * RATE))
    assert writer.opened.result(WAIT).startswith("age1")
    things = list(reachable(writer))
    assert any(isinstance(thing, x25519.Recipient) for thing in things), "the search must reach the public key"
    held = [thing for thing in things if isinstance(thing, x25519.Identity)]
    held += [thing for thing in things if isinstance(thing, str | bytes) and "AGE-SECRET-KEY" in str(thing).upper()]
    assert held == []
    # Nor does anything else in this process: only the officer's own file could hold one, and nobody read it.
    assert not [thing for thing in gc.get_objects() if isinstance(thing, x25519.Identity)]
    writer.abort().result(WAIT)


@pytest.mark.parametrize("how", ["finish", "keep", "erase", "fail"])
def test_the_plain_audio_is_forgotten_when_it_ends(box: Vault, how: str) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    writer.write(noise(10_000), noise(10_000))
    if how == "fail":
        writer._sealer.fail(VaultError("any"))
    done = writer.finish("hangup") if how in {"finish", "fail"} else writer.abort(erase=how == "erase")
    done.result(WAIT)
    arrays: list[Audio] = [thing for thing in reachable(writer) if isinstance(thing, np.ndarray)]
    assert arrays == []
