# SPDX-License-Identifier: GPL-3.0-or-later
"""What a log needs of a real PostgreSQL server: one writer, durable commits, and an end when the server goes away."""

import asyncio
import signal
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from database_kit import Base
from ivr.audit.source import LogSource
from ivr.ledger.client import LedgerClient
from ivr.ledger.database import Postgres
from ivr.ledger.errors import LedgerConflict, LedgerFatal, LedgerMissing, LedgerRefused, LedgerUnavailable
from ivr.ledger.ids import uuid7
from ivr.ledger.keys import load_pseudonym_key
from ivr.ledger.log import Log
from ivr.ledger.protocol import Ack
from ivr.ledger.query import LogReader
from ivr.ledger.store import Store
from ledger_kit import CALL, ended, joined, permitted, received, recorded_call, serving, until
from postgres_kit import DATABASE, OWNER, Cluster, running_cluster

SHOWN = ("synchronous_commit", "fsync", "statement_timeout")


def sessions(base: Base) -> list[int]:
    """The process ids of the ledger's sessions that hold the log's lock."""
    return [row[0] for row in base.run("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")]


def test_a_second_ledger_is_refused_and_a_killed_one_leaves_no_lock(postgres: Base, cluster: Cluster) -> None:
    log = postgres.open()
    with pytest.raises(LedgerMissing, match="in use by another ledger"):
        postgres.open()
    with pytest.raises(LedgerMissing, match="in use by another ledger"):
        # The same log by another name of the same server.
        Log.open(Postgres.parse(f"{postgres.place.url}&application_name=x"), postgres.key, b"k" * 32)  # type: ignore[union-attr]
    log.close()
    postgres.append([received()])
    assert postgres.verify() == []


def test_logs_beside_each_other_do_not_lock_or_see_each_other(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (Base.make(tmp_path / name, cluster.fresh()) for name in "ab")
    first, second = one.open(), other.open()
    first.append([received()], checkpoint=True)
    second.append([received(), joined()], checkpoint=True)
    first.close()
    second.close()
    assert (one.report().events, other.report().events) == (3, 4)
    assert one.verify() == other.verify() == []


def test_commits_are_durable_whatever_the_roles_default_is(postgres: Base, cluster: Cluster) -> None:
    cluster.admin(
        f"ALTER ROLE {OWNER} SET synchronous_commit = off", f"ALTER ROLE {OWNER} SET statement_timeout = 5000"
    )
    try:
        store = Store.open(postgres.place)
        with store._engines.writing() as connection:
            shown = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in SHOWN]
        store.close()
    finally:
        cluster.admin(f"ALTER ROLE {OWNER} RESET ALL")
    assert shown == ["on", "on", "0"]


def test_a_server_that_does_not_sync_is_refused(tmp_path: Path) -> None:
    with running_cluster("fsync = off") as careless, pytest.raises(LedgerMissing, match="fsync=off"):
        Base.make(tmp_path, careless.fresh())


def test_a_commit_that_a_standby_may_lack_is_not_acknowledged(postgres: Base, cluster: Cluster) -> None:
    log = postgres.open()
    cluster.admin("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    said: list[BaseException] = []

    def append() -> None:
        try:
            log.append([received()])
        except LedgerFatal as error:
            said.append(error)

    thread = threading.Thread(target=append)
    try:
        thread.start()
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        pause = threading.Event()
        for _ in range(2000):
            if cluster.admin(waiting):
                break
            pause.wait(0.01)
        cluster.admin(cancel)
        thread.join(30)
    finally:
        cluster.admin("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        thread.join(30)
        log.close()
    assert "may not be durable" in str(said[0])
    assert "might not have been replicated" in str(said[0])


def test_a_place_that_is_taken_is_no_repeated_event(postgres: Base) -> None:
    log = postgres.open()
    entry = joined()
    log.append([received(), entry], checkpoint=True)
    with pytest.raises(LedgerConflict):
        log.append([ended(), entry])
    columns = "call, recording, type, time, jws, leaf"
    postgres.run(f"INSERT INTO events (seq, id, {columns}) SELECT 4, 'x', {columns} FROM events WHERE seq = 3")
    with pytest.raises(LedgerFatal, match="changed by somebody else"):
        log.append([ended()])
    log.close()


def test_a_session_that_the_server_ends_ends_an_idle_ledger(postgres: Base) -> None:
    async def test() -> None:
        async with serving(postgres):
            (pid,) = sessions(postgres)
            postgres.run(f"SELECT pg_terminate_backend({pid})")
            # Nothing is written: only the look once a second can find out.
            await until(lambda: not postgres.socket.exists(), "the ledger ended")

    with pytest.raises(LedgerFatal, match="closed the connection"):
        asyncio.run(test())
    postgres.append([received()])
    assert postgres.verify() == []


@pytest.mark.parametrize("recording", ["a\x00b", "x" * 4000])
def test_what_the_database_cannot_hold_is_refused_and_does_not_end_the_ledger(postgres: Base, recording: str) -> None:
    async def test() -> None:
        async with serving(postgres):
            client = await LedgerClient.connect(postgres.socket, "w")
            one, other = received(), permitted(recording=recording)
            await client.append(one.type, call=one.call, data=one.data, personal=one.personal)
            with pytest.raises(LedgerRefused, match="not an id"):
                await client.append(other.type, call=other.call, data=other.data)
            last = ended()
            await client.append(last.type, call=last.call, data=last.data)
            await client.close()

    asyncio.run(test())
    assert postgres.verify() == []


def test_a_lost_connection_is_never_made_again_by_the_same_ledger(postgres: Base) -> None:
    log = postgres.open()
    log.append([received()])
    (pid,) = sessions(postgres)
    postgres.run(f"SELECT pg_terminate_backend({pid})")
    for _ in range(3):
        with pytest.raises(LedgerFatal):
            log.append([joined()])
    log.close()
    assert [row.type for row in _rows(postgres)][-1] == "call.received"


def _rows(base: Base) -> list[Any]:
    with LogSource(base.place) as source:
        return list(source.rows())


@pytest.mark.parametrize("times", [3])
def test_a_server_that_is_killed_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path, times: int) -> None:
    with running_cluster() as own:
        base = Base.make(tmp_path, own.fresh())
        acked: list[Ack] = []
        unavailable: list[BaseException] = []
        asyncio.run(_load(own, base, times, acked, unavailable))
        found = {row.id: (row.seq, row.jws) for row in _rows(base)}
        assert base.verify() == []
    assert len(acked) > 150 * times
    assert len({ack.id for ack in acked}) == len(acked)
    assert {ack.id: (ack.seq, ack.jws) for ack in acked}.items() <= found.items()
    assert unavailable


async def _load(own: Cluster, base: Base, times: int, acked: list[Ack], unavailable: list[BaseException]) -> None:
    enough, stop = asyncio.Event(), asyncio.Event()
    killed = 0
    live: list[list[str]] = [[] for _ in range(8)]

    async def calls(client: LedgerClient, up: list[str]) -> None:
        while not enough.is_set():
            call, recording = uuid7(), uuid7()
            up[:] = [call]
            for entry in (received(call), joined(call), ended(call)):
                acked.append(await client.append(entry.type, call=call, data=entry.data, personal=entry.personal))
                if entry.type == "call.received":
                    permit = permitted(call, recording)
                    try:
                        await client.append(permit.type, call=call, data=permit.data, queue=False)
                    except LedgerUnavailable as error:
                        unavailable.append(error)

    async def ledgers() -> None:
        """What a supervisor does: a ledger that ended is started again, until it can be."""
        while not stop.is_set():
            try:
                async with serving(base, reclaim_seconds=30.0, start_grace_seconds=30.0) as ends:
                    end = asyncio.ensure_future(stop.wait())
                    while not end.done() and base.socket.exists():
                        await asyncio.wait({end}, timeout=0.05)
                    end.cancel()
                    ends.set()
            except (LedgerFatal, LedgerMissing):
                await asyncio.sleep(0.1)

    serve = asyncio.create_task(ledgers())
    await until(base.socket.exists, "a ledger is up", 30)
    # Each says at every connection which call it still drives, as workers do.
    clients = [
        await LedgerClient.connect(base.socket, f"w{n}", live_calls=up.copy, role="tool", wait=20)
        for n, up in enumerate(live)
    ]
    work = [asyncio.create_task(calls(client, up)) for client, up in zip(clients, live, strict=True)]
    while killed < times:
        had = len(acked)
        await until(lambda had=had: len(acked) > had + 150, "events are acknowledged", 60)  # type: ignore[misc]
        await asyncio.to_thread(own.end, signal.SIGQUIT)
        killed += 1
        # Nobody need have asked for a permit in that very moment: one is asked for now, and cannot be durable.
        permit = permitted(live[0][0], uuid7())
        with pytest.raises((LedgerUnavailable, LedgerRefused)) as refusal:
            await clients[0].append(permit.type, call=live[0][0], data=permit.data, queue=False)
        unavailable += [refusal.value] if isinstance(refusal.value, LedgerUnavailable) else []
        # In this thread: the kernel ends the server with the thread that started it.
        own.start()
    had = len(acked)
    await until(lambda: len(acked) > had + 150, "events are acknowledged again", 60)
    enough.set()
    await asyncio.gather(*work)
    for client in clients:
        await client.close()
    stop.set()
    await serve


def test_an_auditor_reads_with_a_role_that_cannot_write(postgres: Base, cluster: Cluster) -> None:
    postgres.append([received(), joined(), ended()])
    schema = postgres.place.schema  # type: ignore[union-attr]
    cluster.admin(
        "DROP ROLE IF EXISTS auditor",
        "CREATE ROLE auditor LOGIN",
        f"GRANT CONNECT ON DATABASE {DATABASE} TO auditor",
        f"GRANT USAGE ON SCHEMA {schema} TO auditor",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO auditor",
        database=DATABASE,
    )
    seen = Base(postgres.path, Postgres.parse(cluster.url_of("auditor", schema=schema)))
    assert seen.verify() == []
    assert seen.report().events == 5
    with pytest.raises(psycopg.errors.InsufficientPrivilege), psycopg.connect(seen.place.conninfo) as db:  # type: ignore[union-attr]
        db.execute(f"DELETE FROM {schema}.disclosures")
    with closing(seen.open()) as log, pytest.raises(LedgerFatal, match="permission denied"):
        log.append([received()])


def test_text_is_in_the_order_of_its_bytes_whatever_the_servers_language(base: Base) -> None:
    recorded_call(base)
    base.append([ended(uuid7())])
    with LogSource(base.db) as source:
        kinds = [row.type for row in source.rows_of("recording.")]
    assert kinds == ["recording.permitted", "recording.started", "recording.stopped"]
    with LogReader(base.db) as log:
        assert log.find_call(CALL[:12]) == log.find_call(CALL[-12:]) == CALL
        names = [field.name for field in log.fields()]
    assert names == ["caller", "dialled", "address"]


def test_nothing_is_made_but_by_init(cluster: Cluster, postgres: Base) -> None:
    place = cluster.fresh()
    with pytest.raises(LedgerMissing, match="ivr init"):
        Log.open(place, postgres.key, load_pseudonym_key(postgres.keys))
    assert cluster.admin(f"SELECT 1 FROM pg_namespace WHERE nspname = '{place.schema}'", database=DATABASE) == []
    with pytest.raises(FileExistsError, match="is not empty"):
        Log.create(postgres.place, postgres.key, load_pseudonym_key(postgres.keys))
    assert postgres.verify() == []


def test_an_empty_schema_of_the_administrator_is_taken(cluster: Cluster, tmp_path: Path) -> None:
    place = cluster.fresh()
    # A role that may not make schemas in this database.
    cluster.admin("DROP ROLE IF EXISTS modest", "CREATE ROLE modest LOGIN", database=DATABASE)
    cluster.admin(
        f"GRANT CONNECT ON DATABASE {DATABASE} TO modest",
        f"CREATE SCHEMA {place.schema} AUTHORIZATION modest",
        database=DATABASE,
    )
    base = Base.make(tmp_path, Postgres.parse(cluster.url_of("modest", schema=place.schema)))
    assert base.verify() == []
    other = Postgres.parse(cluster.url_of("modest", schema="elsewhere"))
    with pytest.raises(LedgerMissing, match="permission denied"):
        Log.create(other, base.key, load_pseudonym_key(base.keys))
