# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills an archiver at every point of a round, one after the other, and judges what is left. A program of its own: it
forks, which a test runner with threads must not.

python victim.py FOLDER URL: FOLDER is a server with settled recordings, URL has {} where each point gets its own place.
Prints a line of JSON: the number of points, and what did not hold.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archive_kit import archived, hashes
from ivr.node.archive import archiver, open_archive, vault_of
from ivr.vault.archiver import Archiver
from rights_kit import Server

_WRITES = os.O_WRONLY | os.O_RDWR
_CHANGES = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir"})
LAST = 400


class Countdown:
    """Kills this process at the n-th point: before each change of a file, before and after each request."""

    def __init__(self, n: int, folders: tuple[str, ...]) -> None:
        self._left, self._folders = n, folders
        self._lock = threading.Lock()
        sys.addaudithook(self._audited)

    def point(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def _audited(self, event: str, args: tuple[Any, ...]) -> None:
        changes = event in _CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & _WRITES)
        if changes and str(args[0]).startswith(self._folders):
            self.point()

    def watch(self, thing: Any, *names: str) -> None:
        for name in names:
            setattr(thing, name, self._watched(getattr(thing, name)))

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def between(*args: Any) -> Any:
            self.point()
            result = call(*args)
            self.point()
            return result

        return between


def in_child(work: Callable[[], None]) -> int:
    """The wait status of a forked process that does this."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def a_round(server: Server, n: int, shared: str) -> None:
    mover = archiver(server.settings)
    archive = mover._archive
    # A client of S3 takes a second to make: there only the requests are points, the files are a folder's turn.
    folders = (str(server.folder), shared) if shared.startswith("/") else ()
    Countdown(n, folders).watch(archive.remote, "put", "get", "remove")
    done = mover.round(time.time())
    assert done.error is None, done.error


def no_half(server: Server, promised: dict[str, str]) -> None:
    """Every segment is here or there, whole; everything of the archive can be read; the vault lists them all."""
    here, there = hashes(server), archived(server)
    assert {**there, **here} == promised, "a segment is neither here nor there, or not what it was"
    store = vault_of(server.settings)
    for call, recording in store.ids():
        for fact in store.inventory(call, recording):
            store.read(call, recording, fact)
    assert sum(len(store.inventory(*one)) for one in store.ids()) == len(promised)


def finished(server: Server, promised: dict[str, str]) -> None:
    """The next round does the rest, and leaves nothing lying about."""
    mover: Archiver = archiver(server.settings)
    done = mover.round(time.time())
    assert done.error is None, done.error
    assert archived(server) == promised
    assert hashes(server) == {}
    assert vault_of(server.settings).strays() == []
    left = list(server.folder.rglob(".*part*"))
    assert left == [], left


def moved(server: Server, promised: dict[str, str]) -> None:
    no_half(server, promised)
    finished(server, promised)


def erased(server: Server) -> None:
    mover = archiver(server.settings)
    assert mover.round(time.time()).error is None
    archive = open_archive(server.settings)
    assert archive.remote.keys(f"{archive.node}/") == []
    assert archive.spool.erasures() == []
    assert list(vault_of(server.settings).ids()) == []
    assert list(archive.spool.ids()) == []


def erasing(server: Server) -> None:
    """All recordings moved, then all of them erased here."""
    assert archiver(server.settings).round(time.time()).error is None
    store = vault_of(server.settings)
    for one in list(store.ids()):
        store.erase(*one)


def prepared(base: Path, url: str, n: str, erase: bool) -> Server:
    folder = base.parent / f"point-{n}"
    shutil.copytree(base, folder)
    place = url.format(n)
    config = folder / "server.yaml"
    config.write_text(config.read_text().replace(url, place))
    server = Server(folder)
    assert in_child(open_archive(server.settings).remote.begin if place.startswith("file") else lambda: None) == 0
    if erase:
        assert in_child(lambda: erasing(server)) == 0
    return server


def main(base: Path, url: str, erase: bool) -> None:
    promised = hashes(Server(base))
    problems: list[str] = []
    for n in range(1, LAST):
        name = f"{'e' if erase else 'm'}{n}"
        shared = url.format(name).removeprefix("file://")
        if url.startswith("file"):
            Path(shared).mkdir()
        server = prepared(base, url, name, erase)
        status = in_child(lambda: a_round(server, n, shared))  # noqa: B023
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if in_child(lambda: erased(server) if erase else moved(server, promised)) != 0:  # noqa: B023
            problems.append(f"point {n}: see stderr")
        shutil.rmtree(server.folder)
        if not killed:
            if status != 0:
                problems.append(f"point {n}: the round itself failed")
            print(json.dumps({"points": n - 1, "problems": problems}))
            return
    print(json.dumps({"points": LAST, "problems": ["it never ended"]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "erase")
