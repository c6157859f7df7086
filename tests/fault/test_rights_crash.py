# SPDX-License-Identifier: GPL-3.0-or-later
"""A ledger that dies in the middle of an erasure: nothing comes back, and the same command finishes it."""

from pathlib import Path

import pytest

from ivr.ledger.errors import LedgerFatal
from ivr.ledger.log import Entry, Log
from ivr.ledger.personal import Erasing
from ivr.ledger.sealed import SubjectSecrets
from ivr.ledger.store import Store
from rights_kit import NUMBER, Server, make_server

CLAIM = {"scope": "subject", "events": [], "fields": 0, "secrets": 0, "recordings": [], "held": [], "why": "x"}


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(tmp_path)


def erasing(log: Log) -> Entry:
    fields = tuple((match.seq, None) for match in log.personal.find_number(NUMBER))
    return Entry("subject.erased", None, CLAIM, {"who": "officer"}, erases=Erasing(fields, NUMBER))


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
    fields = tuple((event.seq, None) for event in server.events("call.received"))
    log.append([Entry("subject.erased", None, CLAIM, {"who": "officer"}, erases=Erasing(fields, NUMBER))])
    log.close()
    (erased,) = server.events("subject.erased")
    assert (erased.data["fields"], erased.data["secrets"]) == (3, 0)
    assert server.report().erased_fields == 3
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
