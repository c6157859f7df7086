# SPDX-License-Identifier: GPL-3.0-or-later
"""Both channels of a recording show the same moment at the same place, at its start and at its end.

The telephones are threads of this process. On a busy machine their packets come late, and a jitter buffer then changes
its depth by a frame, rightly: that is no fault of the recorders. So a talk counts in which all four streams were even.
Fifteen seconds in the suite; an hour, as a measurement on a quiet machine:
`ASSENT_TALK_S=3600 python -m pytest -n 0 --timeout 4000 -rP tests/sip/test_alignment.py` prints the error of each
click.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from bench.phone import Agent, Caller
from bench.rtp import FRAME, SILENCE, now
from demo.server import Server
from sip.conftest import judged_by_ivr, open_server
from sip.harness import Notices, consent, flow

FRAME_MS = 20.0
EVEN_MS = 35.0
"""Between two packets of a stream at most, so that no jitter buffer has a reason to change its depth."""
TALKS = 3
TALK_S = int(os.environ.get("ASSENT_TALK_S", "15"))
_LOUD = bytes([0x80, 0x00]) * (FRAME // 2)


@dataclass
class Clicker:
    """Says one loud frame each second of the monotonic clock, which both parties share; else silence."""

    second: int = 0
    frames: list[int] = field(default_factory=list)

    def __call__(self, frame: int) -> bytes:
        second = int(time.monotonic())
        if second == self.second:
            return SILENCE
        self.second = second
        self.frames.append(frame)
        return _LOUD


@dataclass
class Voice:
    """The same telephone talks again with a clicker of its own."""

    clicker: Clicker = field(default_factory=Clicker)

    def __call__(self, frame: int) -> bytes:
        return self.clicker(frame)


@dataclass
class Line:
    """A server, and an agent of bare sockets, as the callers are: all know when each of their packets left."""

    server: Server
    agent: Agent
    voices: tuple[Voice, Voice]


@dataclass(frozen=True)
class Talk:
    """How much later the agent's clicks are in the recording than they were on the wire, and how even the streams."""

    error: npt.NDArray[np.float64]
    gap_ms: float

    @property
    def even(self) -> bool:
        return self.gap_ms <= EVEN_MS


@pytest.fixture
def line(tmp_path: Path, notices: Notices) -> Iterator[Line]:
    voices = Voice(), Voice()
    with Agent(voices[1]) as agent:
        flows = {"optout": flow("100", consent(notices, "opt_out"), agent.uri)}
        with open_server(tmp_path / "server", flows, {}) as server:
            yield Line(server, agent, voices)
        judged_by_ivr(server)


def _clicks(channel: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    """Where each click begins, ms."""
    loud = np.flatnonzero(np.abs(channel.astype(np.int32)) > 8000)
    starts = loud[np.flatnonzero(np.diff(loud, prepend=-FRAME * 10) > FRAME * 5)]
    return starts / 8.0


def _sent(voice: Clicker, sent: list[int]) -> npt.NDArray[np.float64]:
    """When each click left, ms."""
    return np.array([sent[frame] / 1e6 for frame in voice.frames if frame < len(sent)])


def _export(server: Server, recording: str, target: Path) -> npt.NDArray[np.int16]:
    who = ("--identity", server.folder / "keys" / "officer.age", "--reason", "test")
    done = server.ivr("recording", "export", recording, *who, "--format", "wav", "--output", target)
    assert done.status == 0, done.err
    audio, _rate = soundfile.read(target, dtype="int16")
    return np.asarray(audio)


def _apart(clicks: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """For each click how much later the other's click of the same second came, ms; those without a partner are out."""
    nearest = others[np.abs(others[None, :] - clicks[:, None]).argmin(axis=1)]
    return (nearest - clicks)[np.abs(nearest - clicks) < 300]


def _gap(*streams: list[int]) -> float:
    """The longest time between two packets of one stream, ms."""
    return max(float(np.diff(np.array(times)).max()) / 1e6 for times in streams)


def _talk(line: Line, number: int, target: Path) -> Talk:
    log = line.server.log
    for voice in line.voices:
        voice.clicker = Clicker()
    with Caller(("127.0.0.1", line.server.port), line.voices[0]).dial("100") as caller:
        started = log.wait("recording.started", within=30, count=number + 1)
        rung = line.agent.wait(number, 5)
        begin = now()
        time.sleep(TALK_S)  # how long they talk, not a wait for anything
        end = now()
    rung.line.close()
    log.wait("call.ended", call=started.call)
    streams = [times for one in (caller.line, rung.line) for times in (one.sent, [p.at for p in one.received])]
    audio = _export(line.server, str(started.data["recording"]), target)
    heard = _apart(_clicks(audio[:, 0]), _clicks(audio[:, 1]))
    said = _apart(_sent(line.voices[0].clicker, caller.line.sent), _sent(line.voices[1].clicker, rung.line.sent))
    talk = Talk(heard - np.median(said), _gap(*([at for at in times if begin <= at <= end] for times in streams)))
    print(f"longest gap {talk.gap_ms:.1f} ms; agent later in the recording, ms:", talk.error.round(1).tolist())
    return talk


def test_both_channels_are_aligned_to_a_frame_and_do_not_drift(line: Line, tmp_path: Path) -> None:
    talks: list[Talk] = []
    while len(talks) < TALKS and not any(talk.even for talk in talks):
        talks.append(_talk(line, len(talks), tmp_path / f"both-{len(talks)}.wav"))
    talk = min(talks, key=lambda one: one.gap_ms)
    assert len(talk.error) >= TALK_S - 2
    # Packets are taken in once a tick, so a click that comes near a tick's edge is in one frame or in the next.
    limit = FRAME_MS if talk.even else 2 * FRAME_MS
    assert abs(np.median(talk.error[:5])) <= limit, talk
    assert abs(np.median(talk.error[-5:])) <= limit, talk
