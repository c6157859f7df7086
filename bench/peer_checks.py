# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether calls were what `make bench-peer` says they are: bridged both ways all the while, and recorded in whole.

Each check gives what is wrong, in words; nothing is wrong when there are none. A server that drops audio, or writes
empty files, would otherwise look cheap.
"""

import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyrage import x25519

from bench.peer_voices import AGENTS_SPEECH, CALLERS_SPEECH, Side
from demo.server import Server
from ivr.vault.open import OpenRecording
from ivr.vault.store import RecordingStore

RATE = 8000
FRAMES_A_SECOND = 50
ENOUGH = 0.95
"""The share of a line's packets that has to arrive."""
PIECE = 2000
"""Samples that are looked for at a time: a quarter of a second, so that audio with jumps in it is still known."""
LIKE = 0.4
"""A voice alone is like itself by 1 in its median piece, in a mix of two by 0.7; another one by 0.2."""
Samples = NDArray[np.int16]
Bounds = tuple[float, float]
"""Seconds that a recording has at least and at most."""


def like(samples: Samples, speech: Samples) -> float:
    """How much the last of this is that speech, 0 to 1, wherever in its loop: the correlation of the median piece."""
    if len(samples) < len(speech):
        return 0.0
    pieces = samples[-len(speech) :].astype(float).reshape(-1, PIECE)
    loop = speech.astype(float)
    at_each = np.fft.irfft(np.conj(np.fft.rfft(pieces, len(loop))) * np.fft.rfft(loop), len(loop))
    power = np.cumsum(np.concatenate([[0.0], loop**2, loop[: PIECE - 1] ** 2]))
    sizes = np.linalg.norm(pieces, axis=1)[:, None] * np.sqrt(power[PIECE:] - power[:-PIECE])
    return float(np.median(np.divide(at_each, sizes, out=np.zeros_like(at_each), where=sizes > 0).max(axis=1)))


def bridged(callers: Side, agents: Side, calls: int) -> Iterator[str]:
    """Every caller heard an agent, and every agent a caller, all the while."""
    for name, side, speech in (("callers", callers, AGENTS_SPEECH), ("agents", agents, CALLERS_SPEECH)):
        if len(side.lines) != calls:
            yield f"{len(side.lines)} of {calls} {name} heard anything"
        wanted = ENOUGH * FRAMES_A_SECOND * side.seconds
        short = sum(line.packets < wanted for line in side.lines)
        if short:
            least = min(line.packets for line in side.lines)
            yield f"{short} {name} got fewer than {wanted:.0f} packets in {side.seconds:.1f} s; one of them {least}"
        others = sum(like(line.samples, speech) < LIKE for line in side.lines)
        if others:
            yield f"{others} {name} did not hear the other side's voice"


def mixed_files(files: Sequence[Path], calls: int, bounds: Bounds) -> Iterator[str]:
    """A WAV of each call, so long, one channel with both voices in it."""
    if len(files) != calls:
        yield f"{len(files)} files for {calls} calls"
    for file in files:
        try:
            with wave.open(str(file), "rb") as wav:
                shape = (wav.getnchannels(), wav.getsampwidth(), wav.getframerate())
                samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
        except (OSError, EOFError, wave.Error) as error:
            yield f"{file.name} cannot be read: {error}"
            continue
        if shape != (1, 2, RATE):
            yield f"{file.name} is not mono, 16 bits, {RATE} Hz: {shape}"
        yield from _kept(file.name, len(samples), {"caller": samples, "agent": samples}, bounds)


def sealed_recordings(server: Server, calls: int, bounds: Bounds) -> Iterator[str]:
    """A recording of each call in our own store, opened as the officer would: so long, a channel for each voice."""
    store = RecordingStore(server.folder / "data/recordings", server.folder / "data/keystore", None)
    lines = (server.folder / "keys/officer.age").read_text().splitlines()
    officer = x25519.Identity.from_str(next(line for line in lines if line.startswith("AGE-SECRET-KEY")))
    started = [event for event in server.log.events if event.type == "recording.started"]
    if len(started) != calls:
        yield f"{len(started)} recordings for {calls} calls"
    for call in {event.call for event in server.log.events if event.call} - {event.call for event in started}:
        yield f"a call without recording: {', '.join(event.type for event in server.log.of(str(call)))}"
    for event in started:
        name = str(event.data["recording"])
        audio = OpenRecording(store, str(event.call), name, [officer]).audio()
        yield from _kept(name, len(audio), {"caller": audio[:, 0], "agent": audio[:, 1]}, bounds)


def _kept(name: str, length: int, channels: dict[str, Samples], bounds: Bounds) -> Iterator[str]:
    least, most = bounds
    if not least <= length / RATE <= most:
        yield f"{name} has {length / RATE:.1f} s, not {least:.1f} to {most:.1f}"
        return
    for party, speech in (("caller", CALLERS_SPEECH), ("agent", AGENTS_SPEECH)):
        # Not the end: one party may hang up before the other's last words are written.
        if like(channels[party][: length * 3 // 4], speech) < LIKE:
            yield f"{name} does not hold the {party}'s voice"
