# SPDX-License-Identifier: GPL-3.0-or-later
"""An archiver that is killed, at every point of its work: nothing is lost or half there, and the next one goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archive_kit import archived, hashes, local, s3_node, s3_settings, settled, status
from rights_kit import make_server
from store_kit import credentials_file, s3_server, until, wire

VICTIM = Path(__file__).with_name("victim.py")
ROOT = Path(__file__).parents[2]


def swept(base: Path, url: str, what: str) -> dict[str, Any]:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = subprocess.run(
        [sys.executable, str(VICTIM), str(base), url, what], capture_output=True, text=True, timeout=280, env=env
    )
    assert done.returncode == 0, done.stderr[-3000:]
    value: dict[str, Any] = json.loads(done.stdout)
    assert value["problems"] == [], done.stderr[-3000:]
    return value


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("what", "least"), [("move", 30), ("erase", 8)])
def test_at_every_point_with_a_folder(tmp_path: Path, what: str, least: int) -> None:
    url = (tmp_path / "shared-{}").as_uri().replace("%7B%7D", "{}")
    server = make_server(tmp_path / "base", f'storage: {{archive: {{url: "{url}"}}}}\n')
    server.call(seconds=3)
    server.call(seconds=1, seed=7)
    settled(server)
    assert swept(server.folder, url, what)["points"] >= least


@pytest.mark.timeout(300)
def test_at_every_point_with_a_bucket(tmp_path: Path) -> None:
    with s3_server() as store:
        store.bucket(versions=True)
        server = make_server(tmp_path / "base", s3_settings(store.url, "p{}"))
        credentials_file(server.folder / "keys/archive.ini")
        server.call(seconds=2)
        settled(server)
        url = "s3://recordings/p{}"
        assert swept(server.folder, url, "move")["points"] == 4
        assert swept(server.folder, url, "erase")["points"] == 2


@pytest.mark.timeout(180)
def test_the_process_killed_and_the_server_killed_in_the_middle(tmp_path: Path) -> None:
    """`ivr archive run` itself. The server dies while an object is on its way, and comes back with nothing in it."""
    with s3_server() as store, wire(store) as line:
        store.bucket()
        node = s3_node(tmp_path, line.url, "mid")
        for seed in range(4):
            node.call(seconds=4, seed=seed)
        settled(node)
        before = hashes(node)
        line.limit = 60_000  # no object gets through whole
        first = _archiver(node.folder)
        try:
            until(lambda: line.sent > 60_000, "an upload is on its way")
            store.kill()
            until(lambda: status(node)["error_kind"] == "archive-away", "it says that the store is away")
            assert status(node)["running"]
            assert hashes(node) == before
        finally:
            first.kill()
            first.wait(20)
        assert not status(node)["running"]
        line.limit = None
        store.start()
        store.bucket()
        second = _archiver(node.folder)
        try:
            until(lambda: local(node) == [], "everything is moved")
            assert archived(node) == before
            until(lambda: status(node)["error"] is None, "it says that all is well")
            other = node.ivr("archive", "run", "--once")
            assert other.exit_code == 2
            assert "another archiver runs" in other.output
            second.send_signal(signal.SIGTERM)
            assert second.wait(60) == 0
        finally:
            second.kill()
            second.wait(20)


def _archiver(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "ivr", "archive", "run", "--config", str(folder)],
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
