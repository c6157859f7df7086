# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a call of the demo was what was promised: by its log, its recording and what the telephones heard."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from demo.scenes import Scene
from demo.server import Server
from demo.stage import AGENT_HZ, CALLER_HZ, Stage
from ivr.audit.timeline import headline
from ivr.ledger.query import ShownEvent
from media.levels import levels

_TOLERANCE_MS = 250
_WITHDRAWAL_MS = 40


@dataclass(frozen=True, slots=True)
class Channel:
    """One party in the recording: level in dBFS RMS, and the strongest frequency."""

    dbfs: float
    hz: int

    def __str__(self) -> str:
        return f"{self.dbfs:.1f} dBFS {self.hz} Hz"


@dataclass(frozen=True, slots=True)
class Tape:
    """A recording that was decrypted: left the caller, right the agent."""

    seconds: float
    left: Channel
    right: Channel


@dataclass(slots=True)
class Verdict:
    """What was seen of one call; empty `wrong` means as promised."""

    scene: Scene
    said: str = ""
    tapes: list[Tape] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def check(self, holds: bool, otherwise: str) -> None:
        """Notes what does not hold."""
        if not holds:
            self.wrong.append(otherwise)


def decrypt(server: Server, recording: str, folder: Path) -> Tape:
    """Opens a recording with the officer's identity, as the officer would, and measures it."""
    target = folder / f"{recording}.wav"
    officer = server.folder / "keys" / "officer.age"
    who = ("--identity", officer, "--reason", "demo: to measure what was kept")
    done = server.ivr("recording", "export", recording, *who, "--format", "wav", "--output", target)
    if done.status:
        raise RuntimeError(f"ivr recording export {recording}: {done.err or done.out}")
    samples, rate = soundfile.read(target, dtype="float64", always_2d=True)
    if samples.shape[1] != 2:
        raise RuntimeError(f"recording {recording} has {samples.shape[1]} channels, not 2")
    left, right = (
        Channel(round(level.rms, 1), _pitch(samples[:, side], rate)) for side, level in enumerate(levels(target))
    )
    return Tape(len(samples) / rate, left, right)


def _pitch(samples: np.ndarray, rate: int) -> int:
    if not len(samples):
        return 0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return round(float(spectrum.argmax()) * rate / len(samples))


def judge(scene: Scene, stage: Stage, server: Server, folder: Path) -> Verdict:
    """Compares one call with its promise."""
    events = stage.events()
    verdict = Verdict(scene, headline((event.type, event.data) for event in events))
    types = [event.type for event in events]
    decided = [e.data["decision"] for e in events if e.type == "consent.decided" and e.data["party"] == "caller"]
    verdict.check(decided == [scene.decision], f"the log says {decided}, not {scene.decision}")
    verdict.check("bridge.started" in types, "the parties were not connected")
    verdict.check(types[-1:] == ["call.ended"], f"the log of the call ends with {types[-1:]}")
    recordings = [str(e.data["recording"]) for e in events if e.type == "recording.stopped"]
    if scene.recorded:
        verdict.check(len(recordings) == 1, f"{len(recordings)} recordings, not 1")
        try:
            verdict.tapes = [decrypt(server, recording, folder) for recording in recordings]
        except RuntimeError as error:
            verdict.wrong.append(str(error))
        for tape in verdict.tapes:
            _judge_tape(verdict, tape, events)
    else:
        verdict.check("recording.permitted" not in types, "a permit was given")
        verdict.check(not (server.folder / "data" / "recordings" / stage.call).exists(), "there are files of this call")
    return verdict


def _judge_tape(verdict: Verdict, tape: Tape, events: list[ShownEvent]) -> None:
    told = {event.type: event for event in events}
    verdict.check(abs(tape.left.hz - CALLER_HZ) <= 5, f"left is {tape.left.hz} Hz, not {CALLER_HZ}")
    verdict.check(abs(tape.right.hz - AGENT_HZ) <= 5, f"right is {tape.right.hz} Hz, not {AGENT_HZ}")
    verdict.check(min(tape.left.dbfs, tape.right.dbfs) > -20, "a party is too quiet")
    begun = told["recording.permitted"].data["at_ms"]
    withdrawn = told.get("consent.withdrawn")
    end = (withdrawn or told["bridge.ended"]).data["at_ms"]
    length = round(tape.seconds * 1000)
    verdict.check(abs(length - (end - begun)) < _TOLERANCE_MS, f"{length} ms kept of {end - begun} ms")
    if withdrawn is not None:
        over = length - (end - begun)
        verdict.check(over <= _WITHDRAWAL_MS, f"{over} ms were kept after the withdrawal")
        verdict.check(told["bridge.ended"].data["at_ms"] - end > 2000, "the call did not go on after the withdrawal")
        verdict.check(told["recording.stopped"].data["reason"] == "withdrawn", "it did not stop for the withdrawal")
