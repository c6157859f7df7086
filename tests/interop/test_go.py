# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints, tiles, receipts and consistency proofs, checked by golang.org/x/mod/sumdb/{note,tlog}."""

import shutil
from pathlib import Path

import pytest

from interop.conftest import Checker
from ivr.audit.consistency import prove_extension
from ivr.audit.receipt import make_receipt
from ivr.audit.source import LogSource
from ivr.ledger.keyring import KeyRing
from ivr.ledger.note import Checkpoint, note_text
from ivr.ledger.rotate import rotate
from ledger_kit import Home, joined, make_home


def test_every_tile_and_every_entry(go_check: Checker, home: Home, tiles: Path) -> None:
    result = go_check("tiles", tiles, home.vkey)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[0] == "708"


@pytest.mark.parametrize("file", ["checkpoint", "tile/0/001", "tile/0/002.p/196", "tile/1/000.p/2", "tile/entries/000"])
def test_a_changed_file_is_refused(go_check: Checker, home: Home, tiles: Path, tmp_path: Path, file: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiles, copy)
    raw = bytearray((copy / file).read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / file).write_bytes(bytes(raw))
    assert go_check("tiles", copy, home.vkey).returncode == 1


def test_a_receipt_of_every_kind_of_place(go_check: Checker, home: Home, tmp_path: Path) -> None:
    with LogSource(home.db) as source:
        newest = source.newest_checkpoint()
        assert newest is not None
        for seq in (0, 1, 255, 256, 511, 512, 600, 707):
            row = source.event(str(seq))
            assert row is not None
            file = tmp_path / f"{seq}.tlog-proof"
            file.write_text(make_receipt(source, row, newest).text())
            result = go_check("receipt", file, home.vkey)
            assert (result.returncode, result.stdout) == (0, f"{seq} 708\n"), result.stderr


def test_a_receipt_for_another_place_is_refused(go_check: Checker, home: Home, tmp_path: Path) -> None:
    with LogSource(home.db) as source:
        row, newest = source.event("300"), source.newest_checkpoint()
        assert row is not None
        assert newest is not None
        text = make_receipt(source, row, newest).text()
    file = tmp_path / "receipt"
    file.write_text(text.replace("\nindex 300\n", "\nindex 301\n"))
    assert go_check("receipt", file, home.vkey).returncode == 1


def test_the_log_extends_each_of_its_checkpoints(go_check: Checker, home: Home, tmp_path: Path) -> None:
    old, proof = tmp_path / "old", tmp_path / "proof"
    with LogSource(home.db) as source:
        for row in list(source.checkpoints()):
            old.write_text(row.note)
            proof.write_text(prove_extension(source, Checkpoint.parse(note_text(row.note))).text())
            result = go_check("extension", proof, old, home.vkey)
            assert (result.returncode, result.stdout) == (0, f"{row.size} 708\n"), result.stderr


def test_the_checkpoint_of_a_rotation_is_signed_by_both_keys(go_check: Checker, tmp_path: Path) -> None:
    home = make_home(tmp_path)
    home.append([joined()])
    with LogSource(home.db) as source:
        before = source.newest_checkpoint()
        assert before is not None
    rotate(home.db, home.keys)
    old, new = KeyRing.read(home.keys / "ledger.vkey").keys
    with LogSource(home.db) as source:
        (tmp_path / "proof").write_text(prove_extension(source, Checkpoint.parse(note_text(before.note))).text())
    (tmp_path / "old").write_text(before.note)
    assert go_check("extension", tmp_path / "proof", tmp_path / "old", old).returncode == 0
    # The old checkpoint needs the old key; the new one alone knows nothing of it.
    assert go_check("extension", tmp_path / "proof", tmp_path / "old", new).returncode == 1
    assert go_check("extension", tmp_path / "proof", tmp_path / "old", new, old).returncode == 0
