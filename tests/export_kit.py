# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls for the exports' tests: a scenario played by the real worker, ledger, machine and vault, and its facts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.cli.export import known_texts

from ivr.audit.source import LogSource
from ivr.export.facts import Facts, Known, gather
from ivr.export.proof import Proof, proofs
from ivr.ledger.keyring import KeyRing
from ivr.ledger.query import LogReader
from ivr.vault.open import OpenRecording
from ivr.vault.sealing import load_identities
from ivr.vault.store import RecordingStore
from scenarios.clock import watch_sealers
from scenarios.script import parse
from scenarios.stage import House, Stage

CASES = Path(__file__).parent / "scenarios" / "cases"


@dataclass(frozen=True)
class Played:
    """A server's folder after one call, and the officer's identity."""

    folder: Path
    officer: Path

    @property
    def database(self) -> Path:
        return self.folder / "data" / "log.sqlite"

    @property
    def keys(self) -> KeyRing:
        return KeyRing.read(self.folder / "keys" / "ledger.vkey")

    @property
    def known(self) -> Known:
        return known_texts(self.folder)

    def call(self) -> str:
        with LogReader(self.database) as log:
            return log.calls()[0].call

    def facts(self, known: Known | None = None, *, with_personal: bool = False) -> Facts:
        with LogReader(self.database) as log:
            events = list(log.events(self.call()))
        return gather(events, self.keys, self.known if known is None else known, with_personal=with_personal)

    def proofs(self, facts: Facts) -> tuple[Proof, ...]:
        with LogSource(self.database) as source:
            return proofs(facts, source, self.keys)

    def opened(self, recording: str) -> OpenRecording:
        data = self.folder / "data"
        store = RecordingStore(data / "recordings", data / "keystore", None)
        return OpenRecording(store, self.call(), recording, load_identities(self.officer))


def play(case: str, house: House, folder: Path, monkeypatch: Any) -> Played:
    """One case of tests/scenarios, from INVITE to the last event and a checkpoint."""
    watch_sealers(monkeypatch)
    outcome = Stage(house, parse(CASES / f"{case}.txt"), folder, monkeypatch).play()
    return Played(outcome.folder, outcome.officer)
