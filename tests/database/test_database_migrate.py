# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables: from SQLite's first schema on, whole or not at all; and the way of a log from SQLite to PostgreSQL."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner

from database_kit import Base
from ivr.audit.source import LogSource
from ivr.cli import main
from ivr.ledger import migrate
from ivr.ledger.copying import MOVED, copy_log
from ivr.ledger.errors import LedgerFatal, LedgerMissing
from ivr.ledger.migrate import schema_of, upgrade
from ivr.ledger.schema import METADATA, SCHEMA_VERSION
from ivr.ledger.store import Store
from ledger_kit import Home, make_home, received, recorded_call
from postgres_kit import Cluster

FIRST = Path(__file__).with_name("first_schema.sql")
ROWS = ("events", "disclosures", "checkpoints", "pseudonyms")


class Victims:
    """Processes that a power cut ends before the n-th statement which changes something (database_victim.py)."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "database_victim"]
        env = {**os.environ, "PYTHONPATH": str(FIRST.parent.parent)}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def __call__(self, n: int, *words: str) -> bool:
        """Whether it was ended so; else it did all of its work."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([n, *words]) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        assert status in (0, signal.SIGKILL), status
        return status != 0

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        if self._process.stdout is not None:
            self._process.stdout.close()


@pytest.fixture(scope="module")
def victim() -> Iterator[Victims]:
    victims = Victims()
    yield victims
    victims.end()


def first_log(folder: Path) -> Home:
    """A log with the tables of 0.1.0 and real, signed events, some 300 of them: enough for a subtree's hash."""
    folder.mkdir()
    home = make_home(folder)
    recorded_call(home)
    home.append([received(f"01a1ffd6-be82-7d3f-ab83-{n:012d}") for n in range(300)])
    newer = home.db.rename(folder / "newer.sqlite")
    with closing(sqlite3.connect(home.db)) as db, db:
        db.executescript(FIRST.read_text())
        db.execute("ATTACH ? AS newer", (str(newer),))
        for table in ROWS:
            db.execute(f"INSERT INTO main.{table} SELECT * FROM newer.{table}")
        db.execute("INSERT INTO main.meta SELECT * FROM newer.meta WHERE name != 'schema'")
        db.execute("INSERT INTO main.meta VALUES ('schema', '1')")
    newer.unlink()
    return home


def rows(path: Path, *tables: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return [db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables]


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        return {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_the_first_schema_is_upgraded_and_nothing_else_is_touched(tmp_path: Path) -> None:
    home = first_log(tmp_path / "h")
    before = rows(home.db, *ROWS)
    assert home.verify(files=True) == []
    with pytest.raises(LedgerMissing, match="ivr db upgrade"):
        home.open()
    assert tables(home.db) == {"meta", *ROWS}
    done = upgrade(home.db)
    assert (done.before, done.after) == (1, SCHEMA_VERSION)
    assert rows(home.db, *ROWS) == before
    home.append([received()])
    assert home.verify(files=True) == []
    with LogSource(home.db) as source:
        assert source.nodes() == 1
    again = upgrade(home.db)
    assert (again.before, again.after) == (SCHEMA_VERSION, SCHEMA_VERSION)


def test_a_log_that_had_its_nodes_before_revisions_were_written_down(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    recorded_call(home)
    home.run("DROP TABLE alembic_version")
    home.run("UPDATE meta SET value = '1' WHERE name = 'schema'")
    upgrade(home.db)
    home.open().close()
    assert home.verify(files=True) == []


def test_an_upgrade_that_is_killed_changed_nothing_or_all(tmp_path: Path, victim: Victims) -> None:
    home = first_log(tmp_path / "h")
    statements = 0
    while victim(statements, "upgrade", str(home.db)):
        assert schema_of(home.db) == 1
        assert tables(home.db) == {"meta", *ROWS}
        assert home.verify(files=True) == []
        statements += 1
    assert statements >= 5
    assert schema_of(home.db) == SCHEMA_VERSION
    home.open().close()


@pytest.mark.parametrize("n", [0, 5, 12, 16])
def test_a_creation_in_postgresql_that_is_killed_leaves_nothing(cluster: Cluster, victim: Victims, n: int) -> None:
    place = cluster.fresh()
    assert victim(n, "create", place.url)
    found = f"SELECT count(*) FROM pg_namespace WHERE nspname = '{place.schema}'"
    assert cluster.admin(found, database="assent") == [(0,)]
    assert not victim(1000, "create", place.url)


def test_a_newer_schema_is_refused(base: Base) -> None:
    base.run("UPDATE meta SET value = '9' WHERE name = 'schema'")
    with pytest.raises(LedgerMissing, match=r"schema 9.*newer"):
        base.open()
    with pytest.raises(LedgerMissing, match=r"schema 9.*newer"):
        upgrade(base.place)
    assert schema_of(base.place) == 9


def test_an_upgrade_waits_for_no_ledger(base: Base) -> None:
    log = base.open()
    with pytest.raises(LedgerMissing, match="in use by another ledger"):
        upgrade(base.place)
    log.close()


def test_the_revisions_make_what_the_store_uses(base: Base) -> None:
    store = Store.open(base.place)
    try:
        with store._engines.writing() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, METADATA) == []
            revisions = ScriptDirectory.from_config(migrate._config(connection))
            assert context.get_current_revision() == revisions.get_current_head() == f"{SCHEMA_VERSION:04d}"
    finally:
        store.close()


def same(home: Home, base: Home) -> bool:
    with LogSource(home.db) as one, LogSource(base.db) as other:
        return (
            list(one.rows()) == list(other.rows())
            and list(one.disclosures()) == list(other.disclosures())
            and list(one.checkpoints()) == list(other.checkpoints())
        )


def test_a_log_moves_to_postgresql_and_goes_on_there(tmp_path: Path, cluster: Cluster) -> None:
    home = make_home(tmp_path)
    recorded_call(home)
    target = cluster.fresh()
    done = copy_log(home.db, target)
    moved = Base(tmp_path, target)
    assert (done.events, done.already) == (8, False)
    assert same(Base(tmp_path, done.kept), moved)
    with pytest.raises(LedgerMissing, match="not there"):
        home.open()
    assert moved.verify(files=True) == []
    moved.append([received()])
    assert moved.verify(files=True) == []
    # The file lacks what was logged since: it is no copy of this log any more.
    with pytest.raises(LedgerFatal, match="not the same"):
        copy_log(home.db, target)


def test_a_copy_that_is_killed_is_finished_by_the_next_one(tmp_path: Path, cluster: Cluster, victim: Victims) -> None:
    home = make_home(tmp_path)
    recorded_call(home)
    kept = Path(f"{home.db}{MOVED}")
    target = cluster.fresh()
    # Every place, the last of them right before the commit, when the file has its new name already.
    seen = set()
    n = 0
    while victim(n, "copy", str(home.db), target.url):
        assert home.db.exists() != kept.exists()
        seen.add(kept.exists())
        n += 1
    assert n > 15
    assert seen == {False, True}
    assert kept.exists()
    assert copy_log(home.db, target).already
    assert Base(tmp_path, target).verify(files=True) == []


def test_a_log_that_was_changed_is_not_copied(tmp_path: Path, cluster: Cluster) -> None:
    home = make_home(tmp_path)
    recorded_call(home)
    home.run("UPDATE events SET leaf = zeros WHERE seq = 3")
    target = cluster.fresh()
    with pytest.raises(LedgerFatal, match="not those of checkpoint"):
        copy_log(home.db, target)
    assert home.db.exists()
    with pytest.raises(LedgerMissing, match="holds no log"):
        Store.open(target)


def test_a_copy_never_goes_over_something(tmp_path: Path, cluster: Cluster, postgres: Base) -> None:
    (tmp_path / "x").mkdir()
    home = make_home(tmp_path / "x")
    with pytest.raises(FileExistsError, match="not empty"):
        copy_log(home.db, postgres.place)  # type: ignore[arg-type]
    assert home.db.exists()
    Path(f"{home.db}{MOVED}").write_bytes(b"")
    with pytest.raises(LedgerMissing, match="both there"):
        copy_log(home.db, cluster.fresh())
    assert postgres.verify() == []


def ivr(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_commands(tmp_path: Path, cluster: Cluster) -> None:
    folder, target = tmp_path / "server", cluster.fresh()
    assert ivr("init", folder, "--origin", "example.org/log").exit_code == 0
    status = ivr("db", "status", "--config", folder, "--json")
    assert json.loads(status.stdout) == {"database": str(folder / "data/log.sqlite"), "schema": 2, "wanted": 2}
    with closing(sqlite3.connect(folder / "data/log.sqlite")) as db, db:
        db.execute("UPDATE meta SET value = '1' WHERE name = 'schema'")
        db.execute("DROP TABLE alembic_version")
    assert ivr("db", "status", "--config", folder).exit_code == 1
    assert "from schema 1 to 2" in ivr("db", "upgrade", "--config", folder).stdout
    assert "2 already" in ivr("db", "upgrade", "--config", folder).stdout
    assert "2 events" in ivr("db", "copy", "--config", folder, "--to", target.url).stdout
    text = (folder / "server.yaml").read_text()
    (folder / "server.yaml").write_text(text.replace("database: data/log.sqlite", f"database: {target.url}"))
    assert ivr("log", "verify", "--config", folder).stdout.startswith("HOLDS. example.org/log: 2 events")
    assert ivr("db", "copy", "--config", folder, "--to", target.url).exit_code == 2
    bad = ivr("db", "copy", "--config", folder, "--to", "mysql://x/y")
    assert (bad.exit_code, "Traceback" in bad.output) == (2, False)
