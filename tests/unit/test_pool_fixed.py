# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rolling restart leaves as it was is named, and what would put workers elsewhere is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ivr.cli import main, restart
from ivr.node.initialise import initialise
from ivr.node.pool.fixed import differing, fixed, moved
from ivr.node.settings import Settings
from ivr.node.settings.pool import Pool

FOUR = "pool: 4\n"


def of(folder: Path, text: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "server.yaml").write_text(text)
    return fixed(Settings.load(folder))


def test_every_setting_of_the_pool_is_compared(tmp_path: Path) -> None:
    assert {f"pool.{name}" for name in Pool.model_fields} <= of(tmp_path, FOUR).keys()


def test_the_same_file_differs_in_nothing_by_whatever_path_it_is_read(tmp_path: Path) -> None:
    here = of(tmp_path / "a", FOUR)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert differing(here, fixed(Settings.load(tmp_path / "b"))) == []


@pytest.mark.parametrize(
    ("before", "after", "named", "refused"),
    [
        (FOUR, "pool: 6\n", ["pool.max (4 runs, server.yaml says 6)"], []),
        (FOUR, "pool: 3\n", ["pool.max (4 runs, server.yaml says 3)"], ["pool.max"]),
        (FOUR, "pool: 1\n", ["pool.max (4 runs, server.yaml says 1)"], ["pool.max"]),
        ("pool: 1\n", FOUR, ["pool.max (1 runs, server.yaml says 4)"], ["pool.max"]),
        (
            FOUR,
            "pool: {max: 4, sip_port: 15010}\n",
            ["pool.sip_port (15000 runs, server.yaml says 15010)"],
            ["pool.sip_port"],
        ),
        ("pool: 1\n", "sip: {port: 5070}\n", ["sip.port (5060 runs, server.yaml says 5070)"], ["sip.port"]),
        ("pool: 1\n", "pool: {max: 1, sip_port: 15010}\n", ["pool.sip_port (15000 runs, server.yaml says 15010)"], []),
        (FOUR, "pool: 4\nmetrics: {port: 0}\n", ["metrics.port (9464 runs, server.yaml says 0)"], []),
        (FOUR, "pool: 4\nlimits: {calls: 1}\n", ["limits.calls (2 runs, server.yaml says 1)"], []),
        (FOUR, "pool: 4\nlimits: {media_timeout: 9s}\n", [], []),  # the workers' own
    ],
)
def test_what_differs_is_named_and_what_moves_is_refused(
    tmp_path: Path, before: str, after: str, named: list[str], refused: list[str]
) -> None:
    running, now = of(tmp_path, before), of(tmp_path, after)
    assert differing(running, now) == named
    assert moved(running, now) == refused


def said(monkeypatch: pytest.MonkeyPatch, folder: Path, status: Mapping[str, Any]) -> Result:
    monkeypatch.setattr(restart, "asked", lambda *_: {"status": {"generation": 1, **status}})
    return CliRunner().invoke(main, ["restart", "--config", str(folder)])


def test_the_command_names_them_and_how_to_change_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = of(tmp_path, FOUR)
    assert said(monkeypatch, tmp_path, {"settings": running}).stderr == ""
    of(tmp_path, "pool: 6\n")
    done = said(monkeypatch, tmp_path, {"settings": running})
    assert (done.exit_code, done.stdout) == (0, "")
    assert "goes on with what it was started with: pool.max (4 runs, server.yaml says 6)" in done.stderr
    assert "systemctl restart ivr-edge.service ivr-pool.service" in done.stderr
    of(tmp_path, "pool: 3\n")
    assert "refused, nothing changes: pool.max" in said(monkeypatch, tmp_path, {"settings": running}).stderr
    assert said(monkeypatch, tmp_path, {}).stderr == ""  # a manager of an earlier release


def test_an_edge_that_differs_by_the_pools_places_is_not_said_to_differ_by_trunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "server"
    initialise(folder, "example.org/log")
    monkeypatch.setattr(restart, "stale", lambda _plan: True)
    running = of(folder, FOUR)
    assert "agents or trunks" in said(monkeypatch, folder, {"settings": running}).stderr
    of(folder, "pool: 6\n")
    other = said(monkeypatch, folder, {"settings": running}).stderr
    assert "pool.max" in other
    assert "agents or trunks" not in other
