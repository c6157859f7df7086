# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that is measured: demo.server's, with flows of our own and a notice that is short to hear."""

import json
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.wire import Address
from demo.server import Server

RATE = 8000
KEY = "9"
LANES = 2
"""Calls that one worker carries at a time."""

# Every fact that the loader demands, in as few words as a transcript can have: a run has no time for long notices.
TRANSCRIPT = "B records this for X, one day in Y, Z may listen. Press 9 at any time: what is recorded so far is kept."


def number(lane: int) -> str:
    """What is dialled to reach the agent of this lane."""
    return str(700 + lane)


def create(folder: Path, agents: list[str], settings: Mapping[str, Mapping[str, object]] | None = None) -> Server:
    """A server, not started, with a flow for each agent."""
    server = Server(folder)
    flows = {f"lane{lane}": _flow(lane, uri) for lane, uri in enumerate(agents)}
    server.create(flows, settings={"log": {"level": "warning"}, **(settings or {})})
    write_notice(folder / "flows" / "notice.wav")
    return server


def address(server: Server) -> Address:
    """Where it is rung."""
    return "127.0.0.1", server.port


def _flow(lane: int, agent: str) -> Mapping[str, object]:
    consent = {
        "mode": "opt_out",
        "lawful_basis": "legitimate_interests",
        "controller": "B",
        "purposes": [{"en": "X"}],
        "retention": "1 day",
        "storage": {"place": "Y"},
        "access": [{"en": "Z"}],
        "keys": {"refuse": KEY},
        "on_withdraw": "keep",
        "notice": {"file": "notice.wav", "transcript": TRANSCRIPT},
    }
    bridge = {"targets": [agent], "ring_back": False, "fallback": "nobody"}
    return {
        "numbers": [number(lane)],
        "language": "en",
        "sections": {"main": [{"consent": consent}, {"bridge": bridge}, "hangup"], "nobody": ["hangup"]},
    }


def write_notice(file: Path) -> None:
    """2.4 s of a tone whose loudness sways as speech does; no 20 ms of it are silent, so its end can be seen."""
    time = np.arange(round(2.4 * RATE)) / RATE
    tone = np.sin(2 * np.pi * 400 * time) * (0.75 + 0.25 * np.sin(2 * np.pi * 3 * time))
    with wave.open(str(file), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes((tone * 6000).astype("<i2").tobytes())


def prompt(server: Server, text: str) -> np.ndarray:
    """The samples of a rendered prompt, int16, by its text."""
    cache = server.folder / "cache" / "prompts"
    for manifest in cache.glob("*.json"):
        facts = json.loads(manifest.read_text())
        if facts["text"] == text and facts["rate"] == RATE:
            with wave.open(str(cache / facts["file"]), "rb") as file:
                return np.frombuffer(file.readframes(file.getnframes()), "<i2")
    raise LookupError(f"no prompt says {text!r} in {cache}")
