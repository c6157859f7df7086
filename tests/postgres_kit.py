# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server of the tests' own: a cluster in a temporary folder, on a Unix socket, as an unprivileged user.

It sorts text as English does, so that a query which leans on the order of bytes shows. The kernel ends it with pytest.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from ivr.ledger.database import Postgres

OWNER = "assent"
DATABASE = "assent"
_PORT = "5432"


def programs() -> Path:
    """Debian keeps them out of PATH, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        raise FileNotFoundError("no PostgreSQL server: apt-get install postgresql")
    return found[-1]


def _unprivileged() -> list[str]:
    # A server refuses to run as root.
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=QUIT"]


class Cluster:
    """`start`, `kill` as a power cut would, `start` again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._schemas = 0

    def make(self, *more: str) -> None:
        if os.geteuid() == 0:
            os.chown(self.folder, pwd.getpwnam("postgres").pw_uid, -1)
        self.folder.chmod(0o755)
        command = [programs() / "initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"]
        command += ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"]
        self._run(*map(str, command))
        settings = ["listen_addresses = ''", f"unix_socket_directories = '{self.folder}'", f"port = {_PORT}"]
        settings += [
            "shared_buffers = 16MB",
            "max_connections = 40",
            "logging_collector = off",
            "autovacuum = off",
            *more,
        ]
        (self.data / "postgresql.auto.conf").write_text("\n".join(settings) + "\n")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_unprivileged(), str(programs() / "postgres"), "-D", str(self.data)],
                stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def end(self, how: signal.Signals) -> None:
        """SIGQUIT is `pg_ctl stop -m immediate`: nothing is written any more. SIGINT is `-m fast`."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.admin_url, connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def _run(self, *command: str) -> None:
        done = subprocess.run([*_unprivileged(), *command], capture_output=True, text=True, cwd=self.folder)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr}")

    @property
    def admin_url(self) -> str:
        return self.url_of("postgres", "postgres")

    def url_of(self, user: str, database: str = DATABASE, **options: str) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"postgresql://{user}@/{database}?host={self.folder}&port={_PORT}{more}"

    def admin(self, *statements: str, database: str = "postgres") -> list[Any]:
        """As the superuser; gives the rows of the last statement."""
        with psycopg.connect(self.url_of("postgres", database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def fresh(self, user: str = OWNER) -> Postgres:
        """A place for a log that no test has had yet."""
        self._schemas += 1
        return Postgres.parse(self.url_of(user, schema=f"log_{self._schemas}"))


@contextmanager
def running_cluster(*settings: str) -> Iterator[Cluster]:
    """A server with a database that belongs to a role which is no superuser."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    cluster = Cluster(folder)
    try:
        cluster.make(*settings)
        cluster.start()
        cluster.admin(f"CREATE ROLE {OWNER} LOGIN", f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
        cluster.admin(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC", database=DATABASE)
        yield cluster
    finally:
        cluster.end(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)
