# SPDX-License-Identifier: GPL-3.0-or-later
"""Two servers with a log each, and a desk that looks after both: one folder is there whole, one is reached in parts."""

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from ivr.cli import main
from ivr.ledger.keys import load_vkey
from rights_kit import Server, make_server

NAMES = ("a", "b")


@dataclass
class Site:
    """`nodes` by name, and the folder of the desk."""

    desk: Path
    nodes: dict[str, Server]

    @property
    def officer(self) -> Path:
        return self.nodes["a"].officer

    def ivr(self, *args: str) -> Result:
        return CliRunner().invoke(main, [*args, "--all-nodes", "--config", str(self.desk)])

    def by_officer(self, *args: str) -> Result:
        return self.ivr(*args, "--identity", str(self.officer))

    def json(self, *args: str) -> Any:
        return json.loads(self.by_officer(*args, "--json").stdout)

    def list_nodes(self, **changed: dict[str, object]) -> None:
        """Write the desk's list; `a={"key": …}` changes a node's entry."""
        folders = {"a": self.nodes["a"].folder, "b": self.desk / "b"}
        rows = [{"name": n, "folder": str(folders[n]), **changed.get(n, {})} for n in NAMES]
        (self.desk / "server.yaml").write_text(yaml.safe_dump({"nodes": rows}))

    def vkey(self, name: str) -> str:
        return str(load_vkey(self.nodes[name].folder / "keys"))

    @contextmanager
    def serving(self, *names: str) -> Iterator[None]:
        """The ledgers of these nodes (all), and the sockets forwarded to the desk."""
        with ExitStack() as stack:
            for name in names or NAMES:
                stack.enter_context(self.nodes[name].serving())
            stack.enter_context(forwarded(self.desk / "b.sock", self.nodes["b"].settings.ledger.socket))
            yield


def make_site(folder: Path) -> Site:
    """Two nodes and the desk. The officer of `a` is that of `b` too."""
    nodes = {}
    for name in NAMES:
        (folder / name).mkdir()
        nodes[name] = make_server(folder / name, origin=f"example.org/{name}")
    for shared in ("people.txt", "recipients.txt", "pseudonym.key"):
        shutil.copy(nodes["a"].folder / "keys" / shared, nodes["b"].folder / "keys" / shared)
    site = Site(folder / "desk", nodes)
    (site.desk / "b").mkdir(parents=True)
    there = nodes["b"].folder
    reached = {
        "storage": {n: str(there / "data" / n) for n in ("recordings", "keystore", "subjects")}
        | {"database": str(there / "data/log.sqlite")},
        "keys": {
            "ledger_public": str(there / "keys/ledger.vkey"),
            "people": str(there / "keys/people.txt"),
            "pseudonym": str(there / "keys/pseudonym.key"),
        },
        "ledger": {"socket": "../b.sock"},
    }
    (site.desk / "b/server.yaml").write_text(yaml.safe_dump(reached))
    site.list_nodes()
    return site


@contextmanager
def forwarded(here: Path, there: Path) -> Iterator[None]:
    """A Unix socket that leads to another, as `ssh -L here:there` makes it: it is there when the far one is not."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(here))
    listener.listen()
    threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                far.connect(str(there))
            except OSError:
                near.close()
                far.close()
                continue
            threads.append(threading.Thread(target=_both, args=(pump, near, far)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield
    finally:
        # close() alone does not wake a thread that waits in accept().
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(10)
        for thread in threads:
            thread.join(10)
        here.unlink()


def _both(pump: Any, near: socket.socket, far: socket.socket) -> None:
    back = threading.Thread(target=pump, args=(far, near))
    back.start()
    pump(near, far)
    back.join()
    near.close()
    far.close()
