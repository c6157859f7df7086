# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays one scenario: a real worker, ledger, machine, prompt cache and vault; only SIP and the clock are made up."""

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ivr.calls import recorder as call_recorder
from ivr.flow.prompts import Kind, needed_prompts
from ivr.ledger.client import Ack, LedgerClient
from ivr.ledger.errors import LedgerRefused
from ivr.ledger.keys import load_ledger_key, load_pseudonym_key
from ivr.ledger.log import Log
from ivr.ledger.service import LedgerService, ServiceSettings
from ivr.node import worker as worker_module
from ivr.node.initialise import OFFICER, initialise
from ivr.node.load import CALL_RATE, Loaded, load
from ivr.sip.events import Digit, DigitBy, Down, MediaChanged, PreferenceChanged
from ivr.vault.errors import VaultFull, VaultUnwritable
from ivr.vault.store import RecordingStore
from media.audio import Audio
from scenarios.clock import VirtualLoop
from scenarios.fakesip import Behaviour, FakeEndpoint, FakeLeg, Recorders
from scenarios.script import Happening, Scenario

HERE = Path(__file__).parent
ENDS_S = 4 * 3600.0


class Speaks:
    """An engine whose speech is a hum of 50 ms a word: the length is what matters."""

    name, version = "hum", "1"

    def voice(self, language: str) -> str:
        return language

    def speak(self, text: str, language: str) -> Audio:
        at = np.arange(len(text.split()) * 400)
        return Audio((8_000 * np.sin(at * 2 * np.pi * 300 / 8_000)).astype(np.int16), 8_000)


@dataclass(frozen=True)
class House:
    """What all scenarios share: flows as loaded, prompts as rendered, and what to call them."""

    loaded: Loaded
    labels: dict[Path, str]
    fresh: Path
    """A server's folder as `ivr init` makes it; every scenario has a copy."""


def build(folder: Path) -> House:
    """Renders every prompt once."""
    made = initialise(folder / "house", "scenarios.test/log").folder
    (made / "server.yaml").write_text(f"flows: {HERE / 'flows.yaml'}\n")
    loaded = load(made)
    labels = {}
    for spec in needed_prompts(loaded.flows.flows, loaded.library):
        file = loaded.cache.render(spec.source, CALL_RATE, Speaks())
        said = {Kind.NOTICE: spec.name, Kind.FLOW: f'"{spec.text}"', Kind.TONE: "ringing"}
        labels[file.path] = said.get(spec.kind, spec.name)
    return House(loaded, labels, initialise(folder / "fresh", "scenarios.test/log").folder)


class FillingStore(RecordingStore):
    """A vault whose disk can be full."""

    full = False
    refusals = 0
    """So often it will not erase."""

    def erase(self, call: str, recording: str) -> Any:
        if FillingStore.refusals:
            FillingStore.refusals -= 1
            raise VaultUnwritable("input/output error", self.recordings, "look at the disk")
        return super().erase(call, recording)

    def add(self, *args: Any) -> Any:
        if FillingStore.full:
            raise VaultFull("no space left on device", self.recordings, "free some space")
        return super().add(*args)


class SeenClient(LedgerClient):
    """Tells the stage what is being written."""

    seen: Callable[[str], None]

    def append(self, type: str, **rest: Any) -> "asyncio.Future[Ack]":
        SeenClient.seen(type)
        return super().append(type, **rest)


@dataclass
class Outcome:
    """What came of a scenario."""

    folder: Path
    legs: dict[str, FakeLeg]
    spoken: dict[str, list[str]]
    left_over: list[str]
    officer: Path
    began_ms: int
    """When the first call was received, ms of the virtual clock."""
    rejected: list[int | None] = field(default_factory=list)


class Stage:
    """One scenario on the virtual clock."""

    def __init__(self, house: House, scenario: Scenario, folder: Path, monkeypatch: Any) -> None:
        self._house = house
        self._scenario = scenario
        self._folder = folder
        self._patch = monkeypatch
        self._counts: Counter[str] = Counter()
        self._done: set[Happening] = set()
        self._recorders = Recorders()
        self._refuse_permits = False
        self._invites: list[dict[str, object]] = []
        self._callers: list[Behaviour] = []
        self._targets: dict[str, Behaviour] = {}
        self._service: LedgerService | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._connected = False
        self._pending = 0
        FillingStore.full = False
        FillingStore.refusals = 0

    def play(self) -> Outcome:
        """From the first INVITE to the last trace of it."""
        patch = self._patch
        patch.setattr(worker_module, "Endpoint", FakeEndpoint)
        patch.setattr(worker_module, "RecordingStore", FillingStore)
        patch.setattr(call_recorder, "PartyRecorder", self._recorders)
        server = self._folder / "server"
        shutil.copytree(self._house.fresh, server)
        self._loaded = replace_paths(self._house.loaded, server)
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            self._loop: VirtualLoop = runner.get_loop()  # type: ignore[assignment]
            return runner.run(self._run(server / "keys" / OFFICER))

    async def _run(self, officer: Path) -> Outcome:
        await self._ledger_starts()
        SeenClient.seen = self._saw
        client = await SeenClient.connect(self._loaded.settings.ledger.socket, "worker-1", live_calls=self._live_calls)
        self._worker = worker_module.Worker(self._loaded, "worker-1", client)
        self._connected = True
        self._endpoint: FakeEndpoint = self._worker.endpoint  # type: ignore[assignment]
        self._endpoint.labels = self._house.labels
        self._endpoint.on_dial = lambda user: self._saw(f"dialled.{user}")
        self._callers.append(Behaviour())
        self._invites.append({})
        for line in self._scenario.given:
            self._given(line)
        self._endpoint.targets = self._targets
        await self._call()
        left_over = await self._close(client)
        legs = {leg.name: leg for leg in [*self._endpoint.callers[:1], *self._endpoint.dialled]}
        rejected = [leg.rejected for leg in self._endpoint.callers]
        spoken = {name: [str(heard) for heard in leg.heard] for name, leg in legs.items()}
        return Outcome(self._loaded.settings.folder, legs, spoken, left_over, officer, self._began_ms, rejected)

    def _live_calls(self) -> list[str]:
        return self._worker.live_calls() if self._connected else []

    async def _call(self) -> None:
        self._began_ms = int(self._loop.time() * 1000)
        self._endpoint.incoming(self._callers[0], **self._invites[0])
        self._saw("call")
        while self._worker._tasks or self._background or self._happening_soon():
            await asyncio.sleep(0.5)
            if self._loop.time() > ENDS_S:
                raise TimeoutError(f"the call never ended; seen: {dict(self._counts)}")

    def _happening_soon(self) -> bool:
        return bool(self._pending)

    async def _close(self, client: LedgerClient) -> list[str]:
        await client.close()
        if self._service is not None:
            await self._service.stop()
        await asyncio.sleep(2)
        me = asyncio.current_task()
        tasks = [repr(task) for task in asyncio.all_tasks() if task is not me]
        recorders = [repr(r) for r in self._recorders.opened if not r.freed]
        legs = [leg.name for leg in self._endpoint.legs]
        never = [h.act for h in self._scenario.happens if h not in self._done]
        return [*tasks, *self._loop.waiting(), *recorders, *legs, *(f"never happened: {act}" for act in never)]

    # -- the ledger ----------------------------------------------------------------------------------------------

    async def _ledger_starts(self) -> None:
        settings = self._loaded.settings
        keys = settings.keys.ledger.parent
        log = Log.open(settings.storage.database, load_ledger_key(keys), load_pseudonym_key(keys))
        self._service = LedgerService(log, ServiceSettings(settings.ledger.socket), self._inventory)
        accept = self._service.append

        def append(connection: Any, n: int, message: dict[str, Any]) -> None:
            if self._refuse_permits and message["type"] == "recording.permitted":
                connection.answer(n, None, LedgerRefused("invalid", "refused by the scenario"))
            else:
                accept(connection, n, message)

        self._service.append = append  # type: ignore[method-assign]
        await self._service.start()

    def _inventory(self, call: str, recording: str) -> list[Mapping[str, Any]]:
        store = RecordingStore(self._loaded.settings.storage.recordings, self._loaded.settings.storage.keystore, None)
        return [
            {name: getattr(f, name) for name in ("n", "start", "samples", "sha256", "bytes")}
            for f in store.inventory(call, recording)
        ]

    async def _ledger_stops(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            await service.stop()

    # -- the script ----------------------------------------------------------------------------------------------

    def _saw(self, event: str) -> None:
        self._counts[event] += 1
        for one in self._scenario.happens:
            if (one.event, one.nth) == (event, self._counts[event]):
                self._pending += 1
                self._loop.call_later(one.delay, self._happens, one)

    def _happens(self, one: Happening) -> None:
        self._pending -= 1
        self._done.add(one)
        self._act(one.act)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _given(self, line: str) -> None:
        for pattern, do in GIVEN:
            if found := re.fullmatch(pattern, line):
                do(self, *found.groups())
                return
        raise ValueError(f"{self._scenario.path.name}: given {line!r}: no such given")

    def _act(self, act: str) -> None:
        for pattern, do in ACTS:
            if found := re.fullmatch(pattern, act):
                do(self, *found.groups())
                return
        raise ValueError(f"{self._scenario.path.name}: {act!r}: nobody does that")

    def _leg(self, name: str) -> FakeLeg:
        legs = [*self._endpoint.callers[:1], *self._endpoint.dialled]
        return next(leg for leg in legs if leg.name == name)

    def _session(self) -> Any:
        return next(iter(self._worker._sessions.values()))

    def _lose_prompt(self, name: str) -> None:
        """Its manifest is gone, as after `cache` was emptied under a running worker."""
        folder = self._folder / "cache"
        folder.mkdir()
        for file in self._house.loaded.cache.folder.iterdir():
            if self._house.labels.get(file) != name:
                (folder / file.name).symlink_to(file)
        settings = self._loaded.settings
        changed = settings.model_copy(update={"prompts": settings.prompts.model_copy(update={"cache": folder})})
        changed._folder = settings.folder
        services = self._worker._services
        self._worker._services = replace(services, cache=replace(self._loaded, settings=changed).cache)
        self._endpoint.labels |= {folder / path.name: label for path, label in self._house.labels.items()}


def replace_paths(loaded: Loaded, folder: Path) -> Loaded:
    """The shared flows and prompts, with a log and a vault of their own."""
    (folder / "server.yaml").write_text(
        f"flows: {HERE / 'flows.yaml'}\nprompts: {{cache: {loaded.settings.prompts.cache}}}\n"
        "limits: {max_call_time: 3 min, drain_timeout: 5s, media_timeout: 10s}\nstorage: {min_free: 0}\n"
    )
    return replace(loaded, settings=type(loaded.settings).load(folder))


def _digit(stage: Stage, who: str, keys: str, by: str | None) -> None:
    how = {"INFO": DigitBy.INFO, "sound": DigitBy.INBAND}[by] if by else DigitBy.RFC4733
    for key in keys:
        stage._leg(who).deliver(Digit(key, how))


def _media(held: bool) -> Callable[[Stage, str], None]:
    return lambda stage, who: stage._leg(who).deliver(MediaChanged(held, True))


TAKES: dict[str, Callable[[float], Behaviour]] = {
    "answers": Behaviour,
    "answers on hold": lambda after: Behaviour(after, on_hold=True),
    "is busy": lambda after: Behaviour(after, status=486),
    "declines": lambda after: Behaviour(after, status=603),
    "is unavailable": lambda after: Behaviour(after, status=480),
    "does not answer": lambda _: Behaviour(None),
    "cannot be dialled": lambda _: Behaviour(cannot_dial=True),
}
"""How a target takes a call."""


def _target(stage: Stage, name: str, what: str, seconds: str | None) -> None:
    after = float(seconds or 1)
    stage._targets[name] = TAKES[what](after)


def _second_caller(stage: Stage, dialled: str) -> None:
    stage._endpoint.incoming(Behaviour(), dialled=dialled)


def _others_hang_up(stage: Stage) -> None:
    for leg in stage._endpoint.callers[1:]:
        leg.deliver(Down(200, ""))


def _set(name: str, value: object) -> Callable[[Stage], None]:
    def do(stage: Stage) -> None:
        setattr(stage, name, value)

    return do


def _disk(stage: Stage, ms: str) -> None:
    stage._loop.disk_s = int(ms) / 1000


def _refuses_to_erase(_stage: Stage, times: str) -> None:
    FillingStore.refusals = int(times)


def _fills(_stage: Stage) -> None:
    FillingStore.full = True


GIVEN: list[tuple[str, Callable[..., None]]] = [
    (r"the caller dials (\S+)", lambda s, number: s._invites[0].update(dialled=number)),
    (r"the caller's phone sends no keys", lambda s: setattr(s._callers[0], "telephone_event", False)),
    (r"the caller's phone sends keys by INFO", lambda s: s._invites[0].update(allows_info=True)),
    (r"the caller's phone says recordpref (\w+)", lambda s, wish: s._invites[0].update(preference=wish)),
    (rf"(\w+) ({'|'.join(TAKES)})(?: after ([\d.]+)s)?", _target),
    (r"the recorder cannot be opened", lambda s: setattr(s._recorders, "cannot_open", True)),
    (r"the recorder gives no samples", lambda s: setattr(s._recorders, "no_samples", True)),
    (r"the prompt (.+) is missing", lambda s, name: s._lose_prompt(name)),
    (r"the ledger refuses permits", _set("_refuse_permits", True)),
]

ACTS: list[tuple[str, Callable[..., None]]] = [
    (r"(\S+) presses ([0-9*#A-D]+)(?: by (INFO|sound))?", _digit),
    (r"(\S+) hangs up", lambda s, who: s._leg(who).deliver(Down(200, ""))),
    (r"(\S+) cancels", lambda s, who: s._leg(who).deliver(Down(487, ""))),
    (r"(\S+) puts us on hold", _media(True)),
    (r"(\S+) takes us off hold", _media(False)),
    (r"(\S+) takes us off hold without keys", lambda s, who: s._leg(who).deliver(MediaChanged(False, False))),
    (r"(\S+) sends a re-INVITE", _media(False)),
    (r"(\S+) sends a re-INVITE without keys", lambda s, who: s._leg(who).deliver(MediaChanged(False, False))),
    (r"(\S+) says recordpref (\w+)", lambda s, who, wish: s._leg(who).deliver(PreferenceChanged(wish))),
    (r"our packets to (\S+) stop", lambda s, who: s._leg(who).silence(True)),
    (r"our packets to (\S+) flow again", lambda s, who: s._leg(who).silence(False)),
    (r"(\S+) goes silent", lambda s, who: setattr(s._leg(who), "silent_from", s._loop.time())),
    (r"the operator objects", lambda s: s._session().object()),
    (r"the ledger stops", lambda s: s._spawn(s._ledger_stops())),
    (r"the ledger is back", lambda s: s._spawn(s._ledger_starts())),
    (r"the disk takes (\d+)ms", _disk),
    (r"the disk is full", _fills),
    (r"the disk will not erase, (\d+) times", _refuses_to_erase),
    (r"the ledger refuses permits", _set("_refuse_permits", True)),
    (r"the worker is told to stop", lambda s: s._spawn(s._worker.drain("signal"))),
    (r"another caller dials (\S+)", _second_caller),
    (r"the other callers hang up", _others_hang_up),
]

__all__ = ["House", "Outcome", "Stage", "build", "suppress"]
