# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr prompts`: the verdict is the exit status, stdout is data."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.cli import main
from ivr.packaged import packaged
from media.audio import read

FLOW = """\
flows:
  info:
    numbers: [default]
    language: en
    sections:
      main:
        - consent: {mode: never, lawful_basis: contract}
        - play: We are open from nine to five.
        - hangup
"""


def ivr(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["prompts", *arguments])


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(packaged("config") / "server.yaml", folder)
    (folder / "flows").mkdir()
    (folder / "flows" / "info.yaml").write_text(FLOW)
    done = ivr("render", "--config", str(folder))
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def server(rendered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rendered, tmp_path / "server"))


def files_of(server: Path, name: str) -> Path:
    rows = json.loads(ivr("list", "--json", "--config", str(server)).stdout)
    return next(Path(row["file"]) for row in rows if row["name"] == name)


def test_list_tells_length_level_and_hashes(server: Path) -> None:
    listed = ivr("list", "--json", "--config", str(server))
    assert listed.exit_code == 0
    rows = json.loads(listed.stdout)
    assert {row["state"] for row in rows} == {"rendered"}
    assert {row["rate"] for row in rows} == {8000, 16000}
    notice = next(row for row in rows if row["name"] == "notice never")
    assert notice["text"] == "This call will not be recorded."
    assert notice["active_dbfs"] == pytest.approx(-20, abs=0.7)
    assert len(notice["audio_sha256"]) == len(notice["text_sha256"]) == 64
    assert "We are open from nine to five." in ivr("list", "--config", str(server)).stdout


def test_check_passes_after_render(server: Path) -> None:
    done = ivr("check", "--json", "--config", str(server))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["findings"] == []


def test_check_fails_and_names_what_was_changed_cut_or_lost(server: Path) -> None:
    for name, change in (
        ("goodbye", lambda data: data[:-100]),
        ("please_wait", lambda data: data[:-1] + b"\x55"),
        ("not_recorded", lambda data: b""),
    ):
        file = files_of(server, name)
        file.write_bytes(change(file.read_bytes()))
    files_of(server, "info.main.2").unlink()
    done = ivr("check", "--config", str(server))
    assert done.exit_code == 1
    told = {line.split(" at ")[0]: line for line in done.stdout.splitlines()}
    assert set(told) == {"en goodbye", "en please_wait", "en not_recorded", "en info.main.2"}
    assert "it was cut" in told["en goodbye"]
    assert "SHA-256" in told["en please_wait"]
    assert ivr("render", "--config", str(server)).exit_code == 0
    assert ivr("check", "--config", str(server)).exit_code == 0


def test_check_before_render_says_what_to_do(server: Path) -> None:
    shutil.rmtree(server / "cache")
    done = ivr("check", "--config", str(server))
    assert done.exit_code == 1
    assert "not rendered: ivr prompts render" in done.stdout


def test_render_fails_for_what_cannot_be_said(server: Path) -> None:
    (server / "flows" / "info.yaml").write_text(
        FLOW.replace("We are open", "Say [[x]]: we are open").replace("play: ", "play: >-\n            ")
    )
    done = ivr("render", "--config", str(server))
    assert done.exit_code == 1
    assert "en info.main.2 at 8000 Hz" in done.stdout


def test_a_folder_that_is_no_server_cannot_run(tmp_path: Path) -> None:
    for name in ("render", "list", "check"):
        done = ivr(name, "--config", str(tmp_path))
        assert done.exit_code == 2
        assert "ivr init" in done.stderr


def test_play_text_writes_what_it_measures(tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    done = ivr("play-text", "Bonjour à tous.", "--language", "fr", "--rate", "16000", "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    audio = read(out)
    assert (audio.rate, told["rate"]) == (16000, 16000)
    assert told["seconds"] == pytest.approx(audio.seconds, abs=0.001)
    assert told["findings"] == []


def test_play_text_in_an_unknown_language_cannot_run() -> None:
    done = ivr("play-text", "Ciao.", "--language", "it")
    assert done.exit_code == 2
    assert "'it'" in done.stderr


@pytest.mark.parametrize("language", ["de", "en", "es", "fr"])
def test_shipped_prompts_pass_the_check(language: str) -> None:
    done = ivr("check", "--shipped", "--language", language)
    assert done.exit_code == 0, done.output
