# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's folder as `ivr init` makes it, with recorded calls of any age, and its ledger running beside the test."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from click.testing import CliRunner, Result

from ivr.audit.files import check_files
from ivr.audit.findings import Finding
from ivr.audit.source import LogSource
from ivr.audit.verify import Report, verify_log
from ivr.cli import main
from ivr.ledger.database import Postgres
from ivr.ledger.ids import uuid7
from ivr.ledger.keys import load_ledger_key, load_pseudonym_key, load_vkey
from ivr.ledger.log import Entry, Log
from ivr.ledger.permit import verify_permit
from ivr.ledger.query import LogReader, ShownEvent
from ivr.ledger.running import run_ledger
from ivr.ledger.sealed import FieldOpener
from ivr.ledger.service import ServiceSettings
from ivr.ledger.store import Store
from ivr.node.initialise import initialise
from ivr.node.settings import Settings
from ivr.rights.view import event_time
from ivr.vault.store import RecordingStore
from ivr.vault.writer import RecordingWriter
from vault_kit import feed, noise

RATE = 8000
NUMBER = "+4930123456"


@dataclass(frozen=True)
class MadeCall:
    """A call in the log; `recording` is empty when it was not recorded."""

    id: str
    recording: str


@dataclass
class Server:
    """The folder, and what tests ask of it."""

    folder: Path

    @property
    def settings(self) -> Settings:
        return Settings.load(self.folder)

    @property
    def officer(self) -> Path:
        return self.folder / "keys/officer.age"

    @property
    def store(self) -> RecordingStore:
        storage = self.settings.storage
        return RecordingStore(storage.recordings, storage.keystore, self.settings.keys.recipients, min_free_bytes=0)

    def ivr(self, *args: str) -> Result:
        return CliRunner().invoke(main, [*args, "--config", str(self.folder)])

    def by_officer(self, *args: str, reason: str = "a reason") -> Result:
        return self.ivr(*args, "--identity", str(self.officer), "--reason", reason)

    def open_log(self, clock: Callable[[], str] | None = None) -> Log:
        settings = self.settings
        key = load_ledger_key(settings.keys.ledger.parent)
        secret = load_pseudonym_key(settings.keys.ledger.parent)
        more = {"clock": clock} if clock else {}
        return Log.open(settings.storage.database, key, secret, personal=settings.personal, **more)

    def call(
        self,
        *,
        days_ago: float = 0.0,
        caller: str = NUMBER,
        recorded: bool = True,
        told_days: int = 30,
        seed: int = 1,
        ended: bool = True,
        seconds: float = 1.0,
    ) -> MadeCall:
        """A call that was up so long ago; the oldest ones first. Not while the ledger runs."""
        call, recording = uuid7(), uuid7() if recorded else ""
        moment = event_time(datetime.now(UTC) - timedelta(days=days_ago))
        log = self.open_log(lambda: moment)
        try:
            log.append([received(call, caller), asked(call, told_days), joined(call)])
            if recorded:
                self._record(log, call, recording, seed, round(seconds * RATE))
            data = {"at_ms": 9000, "outcome": "completed", "reason": "hangup"}
            log.append([Entry("call.ended", call, data)] if ended else [], checkpoint=True)
        finally:
            log.close()
        return MadeCall(call, recording)

    def _record(self, log: Log, call: str, recording: str, seed: int, samples: int) -> None:
        data = {"at_ms": 10, "recording": recording, "parties": ["caller", "agent-1"], "number": 1, "reason": "ok"}
        (ack,) = log.append([Entry("recording.permitted", call, data)])
        permit = verify_permit(ack.jws, load_vkey(self.folder / "keys"), call=call)
        writer = RecordingWriter(permit, self.store, RATE, at_ms=20)
        feed(writer, noise(samples, seed), noise(samples, seed + 1))
        kept = writer.finish("hangup").result(20)
        about = {"recording": recording, "number": 1, "rate": RATE}
        stopped = {
            "at_ms": 8000,
            "reason": kept.reason,
            "samples": kept.samples,
            "spans": [[s.start, s.samples, s.at_ms] for s in kept.spans],
            "segments": [asdict(s) for s in kept.segments],
            "erased": False,
        }
        log.append(
            [
                Entry("recording.started", call, {"at_ms": 20, "recipient": "age1", **about}),
                Entry("recording.stopped", call, {**stopped, **about}),
            ]
        )

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The ledger, in a thread of its own, as `ivr ledger` runs it."""
        ready, ends = threading.Event(), threading.Event()
        stops: list[Callable[[], None]] = []
        errors: list[BaseException] = []

        async def serve() -> None:
            loop, stop = asyncio.get_running_loop(), asyncio.Event()
            stops.append(lambda: loop.call_soon_threadsafe(stop.set))
            settings = self.settings
            service = ServiceSettings(
                settings.ledger.socket, people=settings.keys.people, personal=settings.personal, reclaim_seconds=0.05
            )
            keys = settings.keys.ledger.parent
            await run_ledger(settings.storage.database, keys, service, lambda _c, _r: [], stop=stop, on_ready=ready.set)

        def body() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:
                errors.append(error)
            finally:
                ready.set()
                ends.set()

        thread = threading.Thread(target=body)
        thread.start()
        assert ready.wait(20)
        try:
            assert not errors, errors
            yield
        finally:
            if stops and not ends.is_set():
                stops[0]()
            thread.join(20)
            assert not thread.is_alive()
        assert not errors, errors

    def opener(self) -> FieldOpener:
        return FieldOpener(self.settings.storage.subjects, load_pseudonym_key(self.folder / "keys"))

    def events(self, *types: str) -> list[ShownEvent]:
        with LogReader(self.settings.storage.database, self.opener()) as log:
            return [event for event in log.events() if not types or event.type in types]

    def report(self) -> Report:
        with LogSource(self.settings.storage.database, self.opener()) as source:
            return verify_log(source, load_vkey(self.folder / "keys"))

    def findings(self) -> list[Finding]:
        report = self.report()
        return [*report.findings, *check_files(self.settings.storage.recordings, report.recordings)]


def make_server(
    folder: Path, extra: str = "", origin: str = "example.org/log", database: Postgres | None = None
) -> Server:
    made = initialise(folder / "s", origin, database)
    if extra:
        (made.folder / "server.yaml").write_text(extra)
    server = Server(made.folder)
    _begin_long_ago(server)
    return server


def _begin_long_ago(server: Server) -> None:
    """A log's time never goes back: calls of any age need a log that is older than they are."""
    settings = server.settings
    place = settings.storage.database
    if isinstance(place, Postgres):
        with psycopg.connect(place.conninfo, autocommit=True) as db:
            db.execute(f"DROP SCHEMA {place.schema} CASCADE")
    else:
        place.unlink()
    key = load_ledger_key(settings.keys.ledger.parent)
    store = Store.create(place, {"origin": key.vkey.name, "kid": key.kid})
    moment = event_time(datetime.now(UTC) - timedelta(days=10_000))
    secret = load_pseudonym_key(settings.keys.ledger.parent)
    log = Log(store, key, secret, lambda: moment, settings.personal)
    created = Entry("log.created", None, {"origin": key.vkey.name})
    log.append([created, Entry("key.added", None, {"kid": key.kid, "vkey": str(key.vkey)})], checkpoint=True)
    log.close()


def received(call: str, caller: str) -> Entry:
    data = {"at_ms": 0, "flow": "main", "worker": "worker-1", "flow_sha256": "00"}
    personal = {"caller": f"sip:{caller}@example.org", "dialled": "100", "sip_call_id": "abc"}
    return Entry("call.received", call, data, personal)


def asked(call: str, days: int) -> Entry:
    settings = {
        "v": 1,
        "mode": "opt_out",
        "lawful_basis": "legitimate_interests",
        "controller": {"*": "Example Ltd"},
        "purposes": ["quality"],
        "retention": f"{days} days",
        "retention_days": days,
        "storage_place": {"*": "Frankfurt"},
        "access": ["quality_team"],
    }
    data = {"at_ms": 5, "policy": {}, "policy_sha256": "sha256:00", "machine": 1, "settings": settings}
    return Entry("consent.asked", call, data)


def joined(call: str) -> Entry:
    return Entry("party.joined", call, {"at_ms": 6, "party": "agent-1"}, {"address": "sip:agent7@example.org"})


def ids(events: Sequence[ShownEvent]) -> list[str]:
    return [str(event.data.get("recording")) for event in events]
