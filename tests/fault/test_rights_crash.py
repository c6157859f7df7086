# SPDX-License-Identifier: GPL-3.0-or-later
"""A ledger that dies in the middle of an erasure: nothing comes back, and the same command finishes it."""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ivr.ledger.errors import LedgerConflict, LedgerError, LedgerFatal, LedgerRefused
from ivr.ledger.event import EventError
from ivr.ledger.log import Entry, Log
from ivr.ledger.personal import Erasing
from ivr.ledger.protocol import Ack
from ivr.ledger.query import LogReader
from ivr.ledger.sealed import SubjectSecrets
from ivr.ledger.store import Store
from ivr.ledger.writer import GroupWriter
from rights_kit import NUMBER, Server, make_server

CLAIM = {"scope": "subject", "events": [], "fields": 0, "secrets": 0, "recordings": [], "held": [], "why": "x"}


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(tmp_path)


def erasing(log: Log) -> Entry:
    fields = tuple((match.seq, None) for match in log.personal.find_number(NUMBER))
    return Entry("subject.erased", None, CLAIM, {"who": "officer"}, erases=Erasing(fields, NUMBER))


def left(server: Server) -> tuple[int, int]:
    """How many personal fields of the caller, and how many events of their pseudonym, the database holds."""
    received = [event.seq for event in server.events("call.received")]
    with LogReader(server.settings.storage.database) as log:
        fields = [one for one in log.fields() if one.name in ("caller", "dialled", "sip_call_id")]
        return len(fields), len(log.sharing(received))


def test_secrets_die_before_the_rows_and_the_event(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    call = server.call(recorded=False)
    log = server.open_log()
    with monkeypatch.context() as patch:

        def breaks(*_: object, **__: object) -> None:
            raise LedgerFatal("the power went")

        patch.setattr(Store, "write", breaks)
        with pytest.raises(LedgerFatal):
            log.append([erasing(log)])
    log.close()
    # Gone although no event says so yet, rather than said to be gone and still there.
    assert server.events("subject.erased") == []
    assert {event.call: event.personal for event in server.events("call.received")} == {call.id: {}}
    assert server.report().holds
    log = server.open_log()
    log.append([erasing(log)])
    log.close()
    assert left(server) == (0, 0)
    (erased,) = server.events("subject.erased")
    assert (erased.data["fields"], erased.data["secrets"]) == (3, 0)
    assert server.report().erased_fields == 3
    assert server.findings() == []


def test_a_persons_secret_that_outlived_the_event_dies_at_the_next_start(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.call(recorded=False)
    database, backup = server.settings.storage.database, tmp_path / "backup.sqlite"
    shutil.copy(database, backup)
    assert left(server) == (3, 1)
    log = server.open_log()
    with monkeypatch.context() as patch:

        def breaks(*_: object) -> None:
            raise LedgerFatal("the power went")

        patch.setattr(SubjectSecrets, "forget", breaks)
        with pytest.raises(LedgerFatal):
            log.append([erasing(log)])
    log.close()
    assert len(server.events("subject.erased")) == 1
    assert left(server) == (0, 0)
    server.open_log().close()
    # What leads from the number to its events is gone, also in a copy of the database from before.
    shutil.copy(backup, database)
    log = server.open_log()
    assert log.personal.find_number(NUMBER) == []
    log.close()


def test_what_erases_is_written_by_itself(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a neighbour that cannot be written would have it done twice, and the log say that nothing went."""
    server.call(recorded=False)
    log = server.open_log()
    (taken,) = log.append([Entry("node.draining", None, {"reason": "a test"})])
    again = Entry("node.draining", None, {"reason": "a test"}, id=taken.id)
    entry = erasing(log)
    with pytest.raises(EventError):
        log.append([entry, again])
    with pytest.raises(LedgerConflict):
        log.append([replace(entry, id=taken.id)])

    sizes: list[int] = []
    append = log.append

    def counted(entries: Sequence[Entry], *, checkpoint: bool = False) -> list[Ack]:
        sizes.append(len(entries))
        return append(entries, checkpoint=checkpoint)

    monkeypatch.setattr(log, "append", counted)

    async def write() -> list[LedgerError | None]:
        writer = GroupWriter(log, checkpoint_events=1000, checkpoint_seconds=60)
        refusals: list[LedgerError | None] = []
        for one in (Entry("node.draining", None, {"reason": "before"}), entry, again):
            writer.put(one, lambda _ack, error: refusals.append(error))
        await writer.close()
        return refusals

    before, erased, after = asyncio.run(write())
    log.close()
    assert (before, erased) == (None, None)
    assert max(sizes) == 1
    assert isinstance(after, LedgerRefused)
    (event,) = server.events("subject.erased")
    assert (event.data["fields"], event.data["secrets"]) == (3, 3)
    assert server.findings() == []


def test_a_field_is_never_in_the_database_before_its_secret_is_durable(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    flush, write = SubjectSecrets.flush, Store.write

    def flushed(self: SubjectSecrets) -> None:
        order.append("secrets")
        flush(self)

    def written(self: Store, *args: object, **more: object) -> None:
        order.append("rows")
        write(self, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(SubjectSecrets, "flush", flushed)
    monkeypatch.setattr(Store, "write", written)
    server.call(recorded=False)
    assert order
    assert order == ["secrets", "rows"] * (len(order) // 2)
