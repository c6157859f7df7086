# SPDX-License-Identifier: GPL-3.0-or-later
"""Withdrawal in mid-call, to the sample: both parties send samples whose value tells when they were sent.

Packet n of each voice holds one mu-law code, a different one for each n of a cycle. After the call the recording is
opened, its last samples are looked up, and the time at which they left their sender is compared with the time at which
the key's first packet left. Positive: what was said so long after the key is in the recording.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np
from pyrage import x25519

from bench.figures import Against, Figure, Target
from bench.g711 import CODE_OF, VALUES
from bench.lanes import Lane, Measured, gather, random
from bench.marked import Marked
from bench.phone import Agent, Caller
from bench.rtp import FRAME
from bench.served import KEY, prompt
from demo.server import Server
from ivr.vault.open import OpenRecording
from ivr.vault.store import RecordingStore

_GROUP = "latency"
_MS = 1e6
_CYCLE = tuple(code for code in range(256) if 60 < abs(int(VALUES[code])) < 1000)
_CONFIRMATION = "The recording has been stopped. What was recorded so far will be kept."


def voice(n: int) -> bytes:
    """The n-th packet: its number, as a level."""
    return bytes([_CYCLE[n % len(_CYCLE)]]) * FRAME


def withdrawals(server: Server, agents: list[Agent], count: int, seconds: float) -> Iterator[Figure]:
    """Calls to the end of the notice and the agent's, some seconds of talk, then the key."""
    kept = _Kept(server)
    confirmation = Marked(prompt(server, _CONFIRMATION))
    runs = gather(server, agents, lambda lane: _withdrawn(lane, kept, confirmation), count, seconds)
    yield Figure(
        "key in the bridge → last sample kept", "ms", runs.of("kept"), Target(40, Against.P99), runs.note, _GROUP
    )
    yield Figure("key in the bridge → confirmation audio", "ms", runs.of("confirmed"), None, "", _GROUP)


def _withdrawn(lane: Lane, kept: "_Kept", confirmation: Marked) -> Measured:
    rung = lane.agent.count
    with Caller(lane.server, voice).dial(lane.number) as call:
        agent = lane.agent.wait(rung, 10).line
        of = lane.recording(call.call_id)
        time.sleep(random.uniform(0.4, 0.9))
        pressed = call.line.press(KEY)
        confirmed = call.line.wait(confirmation.found_over, 3, after=pressed)
    lane.settle(call.call_id)
    audio = kept.audio(*of)
    last = [_sent_at(audio[:, side], line.sent, pressed) for side, line in ((0, call.line), (1, agent))]
    measured = {"kept": (max(last) - pressed) / _MS}
    if confirmed is not None:
        measured["confirmed"] = (confirmed.at - pressed) / _MS - confirmation.offset_ms
    return measured


def _sent_at(samples: np.ndarray, sent: Sequence[int], pressed: int) -> float:
    """When the last sample that can be told was sent, ns."""
    for end in range(len(samples), 0, -1):
        code = CODE_OF.get(int(samples[end - 1]))
        if code in _CYCLE:
            break
    else:
        raise AssertionError("the recording holds nothing that was sent")
    place = _CYCLE.index(code)
    same = 0
    while same < end and samples[end - 1 - same] == samples[end - 1]:
        same += 1
    # Of the packets with this code, the one nearest to the key: a cycle takes three seconds.
    n = min(range(place, len(sent), len(_CYCLE)), key=lambda n: abs(sent[n] - pressed))
    # A packet leaves when its last sample has been spoken.
    return sent[n] - (FRAME - same) * 125_000


class _Kept:
    """The recordings of this server, opened as the officer would."""

    def __init__(self, server: Server) -> None:
        data = server.folder / "data"
        self._store = RecordingStore(data / "recordings", data / "keystore", None)
        lines = (server.folder / "keys" / "officer.age").read_text().splitlines()
        self._officer = x25519.Identity.from_str(next(line for line in lines if line.startswith("AGE-SECRET-KEY")))

    def audio(self, call: str, recording: str) -> np.ndarray:
        """All that was kept, shape (samples, 2)."""
        return OpenRecording(self._store, call, recording, [self._officer]).audio()
