# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls for the exports' tests: scenarios played by the real worker, ledger, machine and vault, each once a process."""

import asyncio
import atexit
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.audit.source import LogSource
from ivr.cli import main
from ivr.cli.export import known_texts
from ivr.export.facts import Facts, Known, gather
from ivr.export.proof import Proof, proofs
from ivr.ledger.keyring import KeyRing
from ivr.ledger.query import LogReader, ShownEvent
from ivr.ledger.running import run_ledger
from ivr.ledger.service import ServiceSettings
from ivr.node.settings import Settings
from ivr.vault.open import OpenRecording
from ivr.vault.sealing import load_identities
from ivr.vault.store import RecordingStore
from scenarios.clock import watch_sealers
from scenarios.script import parse
from scenarios.stage import House, Stage, build

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
    def vkey(self) -> Path:
        return self.folder / "keys" / "ledger.vkey"

    @property
    def keys(self) -> KeyRing:
        return KeyRing.read(self.vkey)

    @property
    def known(self) -> Known:
        return known_texts(self.folder)

    @property
    def call(self) -> str:
        with LogReader(self.database) as log:
            return log.calls()[0].call

    def events(self) -> list[ShownEvent]:
        with LogReader(self.database) as log:
            return list(log.events(self.call))

    def all_types(self) -> list[str]:
        with LogReader(self.database) as log:
            return [event.type for event in log.events()]

    def facts(self, known: Known | None = None, *, with_personal: bool = False) -> Facts:
        known = self.known if known is None else known
        return gather(self.events(), self.keys, known, with_personal=with_personal)

    def proofs(self, facts: Facts) -> tuple[Proof, ...]:
        with LogSource(self.database) as source:
            return proofs(facts, source, self.keys)

    def opened(self, recording: str) -> OpenRecording:
        data = self.folder / "data"
        store = RecordingStore(data / "recordings", data / "keystore", None)
        return OpenRecording(store, self.call, recording, load_identities(self.officer))

    def ivr(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["call", *arguments, "--config", str(self.folder)])

    def copy(self, folder: Path) -> "Played":
        """One to change: everything but prompts and flows is beside it."""
        to = folder / "s"
        shutil.copytree(self.folder, to)
        return Played(to, to / self.officer.relative_to(self.folder))


def _folder() -> Path:
    # Short: the ledger's socket is in it, and such paths have at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="ax-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def house() -> House:
    """The scenarios' flows and prompts."""
    return build(_folder())


@cache
def played(case: str) -> Played:
    """One case of tests/scenarios, from INVITE to the checkpoint after its last event. Not to be changed: copy()."""
    with pytest.MonkeyPatch.context() as patch:
        watch_sealers(patch)
        outcome = Stage(house(), parse(CASES / f"{case}.txt"), _folder(), patch).play()
    return Played(outcome.folder, outcome.officer)


@cache
def facts_of(case: str) -> Facts:
    """Its facts without personal data."""
    return played(case).facts()


@cache
def proofs_of(case: str) -> tuple[Proof, ...]:
    """Its receipts."""
    return played(case).proofs(facts_of(case))


@contextmanager
def ledger(server: Played) -> Iterator[None]:
    """The server's ledger, on a thread, as the commands find it."""
    settings = Settings.load(server.folder)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    service = ServiceSettings(settings.ledger.socket, people=settings.keys.people, personal=settings.personal)
    work = run_ledger(
        settings.storage.database, settings.keys.ledger.parent, service, lambda _c, _r: [], stop=stop,
        on_ready=ready.set,
    )  # fmt: skip
    thread = threading.Thread(target=loop.run_until_complete, args=(work,), daemon=True)
    thread.start()
    assert ready.wait(20), "the ledger did not start"
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
