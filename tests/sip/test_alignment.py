# SPDX-License-Identifier: GPL-3.0-or-later
"""Both channels of a recording show the same moment at the same place, at its start and at its end.

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
from bench.rtp import FRAME, SILENCE
from demo.server import Server
from sip.conftest import judged_by_ivr, open_server
from sip.harness import Notices, consent, flow

FRAME_MS = 20.0
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
class Talk:
    """A server, and a caller and an agent of bare sockets who know when each of their packets left."""

    server: Server
    caller: Caller
    agent: Agent
    voices: tuple[Clicker, Clicker]


@pytest.fixture
def talk(tmp_path: Path, notices: Notices) -> Iterator[Talk]:
    voices = Clicker(), Clicker()
    with Agent(voices[1]) as agent:
        flows = {"optout": flow("100", consent(notices, "opt_out"), agent.uri)}
        with open_server(tmp_path / "server", flows, {}) as server:
            yield Talk(server, Caller(("127.0.0.1", server.port), voices[0]), agent, voices)
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


def test_both_channels_are_aligned_to_a_frame_and_do_not_drift(talk: Talk, tmp_path: Path) -> None:
    log = talk.server.log
    with talk.caller.dial("100") as caller:
        started = log.wait("recording.started", within=30)
        rung = talk.agent.wait(0, 5)
        time.sleep(TALK_S)  # how long they talk, not a wait for anything
    log.wait("call.ended", call=started.call)
    audio = _export(talk.server, str(started.data["recording"]), tmp_path / "both.wav")
    heard = _apart(_clicks(audio[:, 0]), _clicks(audio[:, 1]))
    said = _apart(_sent(talk.voices[0], caller.line.sent), _sent(talk.voices[1], rung.line.sent))
    error = heard - np.median(said)
    print("agent later than caller in the recording than on the wire, ms:", error.round(1).tolist())
    assert len(heard) >= TALK_S - 2
    first, last = np.median(error[:5]), np.median(error[-5:])
    # Packets are taken in once a tick, so a click that comes near a tick's edge is in one frame or in the next.
    assert abs(first) <= FRAME_MS, error
    assert abs(last) <= FRAME_MS, error
