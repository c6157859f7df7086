# SPDX-License-Identifier: GPL-3.0-or-later
"""What the victims do. Every workload says through a socket, outside the fault, what it was promised, when it was.

Sockets are written with sendto, which no fault is ever injected into; files with write, pwrite64, fsync and so on.
"""

import asyncio
import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ivr.ledger.engines
from ivr.ledger.client import Ack, LedgerClient
from ivr.ledger.errors import LedgerError, LedgerUnavailable
from ivr.ledger.ids import uuid7
from ivr.ledger.keeping import PersonalSettings
from ivr.ledger.log import Entry, Log
from ivr.ledger.personal import Erasing
from ivr.ledger.running import run_ledger
from ivr.ledger.service import ServiceSettings
from ivr.node.initialise import initialise
from ivr.vault.errors import VaultError
from ivr.vault.store import RecordingStore
from ivr.vault.writer import RecordingSummary, RecordingWriter
from ledger_kit import Home, ended, joined, received
from vault_kit import RATE, noise, permit

ARMED = 4242
"""What getpgid gives once strace injects: the proof that the faults are in place."""
LONG = 8
BURST = 16
SECONDS = 5


class Stage:
    """The victim's end of the line. Waits at one phase until it is traced; may end at another, to count up to there."""

    def __init__(self, line: str, phase: str, until: str) -> None:
        self._phase, self._until = phase, until
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._line.connect(line)

    def reach(self, phase: str) -> None:
        """The workload begins this phase."""
        if phase == self._until:
            os._exit(0)
        if phase != self._phase:
            return
        self.say(at=phase)
        deadline = time.monotonic() + 60
        while os.getpgid(0) != ARMED:
            if time.monotonic() > deadline:
                raise TimeoutError("nobody traces this")
            time.sleep(0.0005)

    def say(self, **what: Any) -> None:
        """Something that is true from now on, whatever happens."""
        self._line.sendall(json.dumps(what).encode() + b"\n")


def ledger(folder: str, stage: Stage) -> None:
    """The real service with a client: events one by one, then many at once, then an ordered stop."""
    # In mid-run as after a thousand pages, but sooner.
    _also("wal_autocheckpoint=40")
    with suppress(LedgerError):
        asyncio.run(_ledger(Home(Path(folder)), stage))
        stage.say(done=True)


def _also(pragma: str) -> None:
    setattr(ivr.ledger.engines, "_PRAGMAS", (*ivr.ledger.engines._PRAGMAS, pragma))  # noqa: B010  (typed as five)


async def _ledger(home: Home, stage: Stage) -> None:
    settings = ServiceSettings(home.socket, checkpoint_events=8, reclaim_seconds=0.01, start_grace_seconds=0.01)
    stop, ready = asyncio.Event(), asyncio.Event()
    stage.reach("open")
    task = asyncio.create_task(
        run_ledger(home.db, home.keys, settings, lambda _call, _recording: [], stop=stop, on_ready=ready.set)
    )
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if not task.done():
            await _appends(home, stage, task)
    finally:
        stop.set()
        try:
            await task
        except LedgerError as error:
            stage.say(fatal=str(error))
            raise


async def _appends(home: Home, stage: Stage, task: "asyncio.Task[None]") -> None:
    client = await LedgerClient.connect(home.socket, "worker-1")
    stage.reach("append")
    call = uuid7()
    for entry in [received(call), *(joined(call, n) for n in range(LONG))]:
        await asyncio.wait([_append(client, entry, stage)])
    await asyncio.wait([_append(client, joined(call, 100 + n), stage) for n in range(BURST)])
    await asyncio.wait([_append(client, ended(call), stage)])
    await client.close(timeout=0)
    stage.reach("close")


def _append(client: LedgerClient, entry: Entry, stage: Stage) -> "asyncio.Future[Ack]":
    def answered(future: "asyncio.Future[Ack]") -> None:
        error = future.exception()
        if error is None:
            stage.say(acked=future.result().id, seq=future.result().seq)
        else:
            stage.say(refused=type(error).__name__, unavailable=isinstance(error, LedgerUnavailable))

    future = client.append(entry.type, call=entry.call, data=entry.data, personal=entry.personal, queue=False)
    future.add_done_callback(answered)
    return future


def vault(folder: str, stage: Stage) -> None:
    """One recording that is kept, one that is withdrawn with erasure, then the first one erased too."""
    home = Path(folder)
    store = RecordingStore(home / "recordings", home / "keystore", home / "recipients.txt", min_free_bytes=0)
    stage.reach("record")
    kept = _record(store, stage, 1)
    said = kept.finish("hangup").result(30)
    stage.say(kept=said.recording, **_facts(said))
    stage.reach("withdraw")
    withdrawn = _record(store, stage, 2)
    stage.say(erasing=withdrawn.recording)
    said = withdrawn.abort(erase=True, reason="withdrawn").result(30)
    stage.say(**({"erased": said.recording} if said.erasure else {"failed": said.recording, "why": str(said.error)}))
    stage.reach("erase")
    stage.say(erasing=kept.recording)
    try:
        store.erase(kept.call, kept.recording)
        stage.say(erased=kept.recording)
    except VaultError as error:
        stage.say(failed=kept.recording, why=str(error))
    stage.say(done=True)


def _record(store: RecordingStore, stage: Stage, seed: int) -> RecordingWriter:
    writer = RecordingWriter(permit(), store, RATE)
    stage.say(call=writer.call, recording=writer.recording, seed=seed)
    caller, agent = noise(SECONDS * RATE, seed), noise(SECONDS * RATE, seed + 100)
    told = 0
    with suppress(VaultError):
        writer.opened.result(30)
        for at in range(0, len(caller), 160):
            writer.write(caller[at : at + 160], agent[at : at + 160])
            while writer.unsealed > 2 * RATE:
                time.sleep(0.0005)
            for fact in writer.sealed[told:]:
                stage.say(sealed=writer.recording, fact=asdict(fact))
                told += 1
    return writer


def _facts(summary: RecordingSummary) -> dict[str, Any]:
    error = summary.error
    return {"facts": [asdict(fact) for fact in summary.segments], "why": str(error) if error else None}


def init(folder: str, stage: Stage) -> None:
    """`ivr init`."""
    stage.reach("init")
    try:
        made = initialise(Path(folder) / "server", "example.org/consent-log")
    except Exception as error:  # what the command shows; which one is for the judge
        stage.say(failed=type(error).__name__, why=str(error))
        return
    stage.say(made=made.vkey)


ERASED, OTHER = "+4930123456", "+4930654321"


def personal(folder: str, stage: Stage) -> None:
    """Personal fields of two callers: kept, then those of one erased, the key store before the database."""
    home = Home(Path(folder))
    stage.reach("keep")
    try:
        log = home.open(personal=PersonalSettings(home.path / "subjects"))
        try:
            _personal(home, log, stage)
        finally:
            log.close()
    except LedgerError as error:
        stage.say(fatal=str(error))


def _personal(home: Home, log: Log, stage: Stage) -> None:
    fields = []
    for n in range(6):
        number = ERASED if n % 2 else OTHER
        entry = received(uuid7())
        ack = log.append([replace(entry, personal={"caller": f"sip:{number}@example.org", "dialled": "100"})])[0]
        stage.say(acked=ack.id, seq=ack.seq, number=number, texts=_texts(home, ack.seq))
        fields += [(ack.seq, None)] if number == ERASED else []
    stage.reach("erase")
    stage.say(erasing=ERASED)
    done = log.append([Entry("subject.erased", None, {}, erases=Erasing(tuple(fields), ERASED))], checkpoint=True)[0]
    stage.say(acked=done.id, seq=done.seq, erased=ERASED)
    stage.reach("again")
    last = log.append([replace(received(uuid7()), personal={"caller": f"sip:{ERASED}@example.org", "dialled": "1"})])[0]
    stage.say(acked=last.id, seq=last.seq, number="again", texts=_texts(home, last.seq))


def _texts(home: Home, seq: int) -> list[str]:
    """What a backup of the database would hold of this event."""
    with closing(sqlite3.connect(home.db)) as db:
        return [str(text) for (text,) in db.execute("SELECT text FROM disclosures WHERE seq = ?", (seq,))]


def careless_ledger(folder: str, stage: Stage) -> None:
    """A ledger that does not wait for the disk: the model must catch it."""
    _also("synchronous=OFF")
    ledger(folder, stage)


def careless(workload: Callable[[str, Stage], None]) -> Callable[[str, Stage], None]:
    """Another one, whose files are never synced."""

    def run(folder: str, stage: Stage) -> None:
        for name in ("fsync", "fdatasync"):
            setattr(os, name, lambda _handle: None)
        workload(folder, stage)

    return run


WORKLOADS: dict[str, Callable[[str, Stage], None]] = {
    "ledger": ledger,
    "personal": personal,
    "vault": vault,
    "init": init,
    "careless-ledger": careless_ledger,
    "careless-personal": careless(personal),
    "careless-vault": careless(vault),
    "careless-init": careless(init),
}
