# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's life with a real ledger: it adopts what it loaded before it is ready, and drains when it is told to."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ivr.audit.source import LogSource
from ivr.ledger.errors import LedgerError
from ivr.ledger.event import peek
from ivr.ledger.keys import load_ledger_key, load_pseudonym_key
from ivr.ledger.log import Log
from ivr.ledger.note import NoteError
from ivr.ledger.service import LedgerService, ServiceSettings
from ivr.node import worker as module
from ivr.node.initialise import initialise
from ivr.node.load import Loaded, load
from ivr.node.worker import run_worker
from ivr.sip.events import Down
from ivr.vault.errors import VaultError
from scenarios.clock import VirtualLoop
from scenarios.fakesip import Behaviour, FakeEndpoint


def run(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    on_ready: Callable[[module.Worker], None] = lambda _worker: None,
    endpoint: type[FakeEndpoint] = FakeEndpoint,
) -> tuple[Loaded, list[str]]:
    """Starts ledger and worker, stops both; what was in the log when the worker said that it is ready."""
    monkeypatch.setattr(module, "Endpoint", endpoint)
    loaded = load(folder)
    at_ready: list[str] = []

    async def main() -> None:
        keys, stop = folder / "keys", asyncio.Event()
        log = Log.open(folder / "data/log.sqlite", load_ledger_key(keys), load_pseudonym_key(keys))
        service = LedgerService(log, ServiceSettings(loaded.settings.ledger.socket), lambda _call, _recording: [])
        await service.start()

        def ready(worker: module.Worker) -> None:
            at_ready.extend(kinds(folder))
            on_ready(worker)
            stop.set()

        try:
            await run_worker(loaded, "worker-3", stop, ready)
        finally:
            await service.stop()
            await asyncio.sleep(5)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert left == set()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    return loaded, at_ready


def kinds(folder: Path) -> list[str]:
    with LogSource(folder / "data/log.sqlite") as source:
        return [peek(row.jws).type for row in source.rows()]


@pytest.fixture
def server(tmp_path: Path) -> Path:
    return initialise(tmp_path / "server", "example.org/log").folder


def test_what_is_in_force_is_in_the_log_before_a_call_can_come(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, at_ready = run(server, monkeypatch)
    assert at_ready[-2:] == ["worker.joined", "policy.adopted"]
    assert kinds(server)[len(at_ready) :] == ["node.draining", "node.stopped"]
    with LogSource(server / "data/log.sqlite") as source:
        (adopted,) = [event for row in source.rows() if (event := peek(row.jws)).type == "policy.adopted"]
    assert adopted.data["flows"] == loaded.flow_hashes()
    assert adopted.data["settings_sha256"] == loaded.settings_sha256


def test_a_worker_that_starts_again_says_what_it_goes_by_now(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that started it an hour ago knows only what was there then."""
    run(server, monkeypatch)
    (server / "flows/survey.yaml").write_text((server / "flows/survey.yaml").read_text() + "# changed\n")
    run(server, monkeypatch)
    with LogSource(server / "data/log.sqlite") as source:
        first, second = [e.data["flows"] for row in source.rows() if (e := peek(row.jws)).type == "policy.adopted"]
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["support"] == second["support"]
    assert first["survey"] != second["survey"]


@pytest.mark.parametrize("name", ["recipients.txt", "ledger.vkey"])
def test_what_it_lacks_ends_it_with_nothing_left_running(
    name: str, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger has started; the worker's own file goes before the worker looks for it."""
    real = module.Worker._make_services

    def late(worker: module.Worker, *rest: str) -> object:
        (server / "keys" / name).unlink()
        return real(worker, *rest)

    monkeypatch.setattr(module.Worker, "_make_services", late)
    with pytest.raises((LedgerError, NoteError, VaultError), match=name):
        run(server, monkeypatch)


def test_who_watches_hears_that_the_last_call_has_ended_before_the_drain_ends(
    server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing PJSIP holds up the event loop; a worker that last said that it has a call would be killed as hung."""
    said: list[list[str]] = []
    at_end: list[list[str]] = []

    class Closing(FakeEndpoint):
        def stop(self) -> None:
            at_end.extend(said)

    def ring(worker: module.Worker) -> None:
        loop = asyncio.get_running_loop()
        worker.on_change = lambda: loop.call_soon(lambda: said.append(worker.live_calls()))  # type: ignore[assignment]
        worker.endpoint.incoming(Behaviour()).later(3, Down(200, ""))  # type: ignore[attr-defined]

    run(server, monkeypatch, ring, Closing)
    assert len(at_end) == 2
    assert (len(at_end[0]), at_end[1]) == (1, [])
