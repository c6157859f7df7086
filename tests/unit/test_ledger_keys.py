# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys on disk: made once, private, and never a surprise."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr.ledger.errors import LedgerMissing
from ivr.ledger.keys import create_keys, load_ledger_key, load_pseudonym_key, load_vkey
from ivr.ledger.pseudonym import normalised, pseudonym, pseudonyms
from ledger_kit import ORIGIN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_keys(tmp_path, ORIGIN)
    return tmp_path


def test_keys_are_private_and_read_back(folder: Path) -> None:
    for name in ("ledger.key", "pseudonym.key"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    key = load_ledger_key(folder)
    assert key.vkey == load_vkey(folder)
    assert key.vkey.name == ORIGIN
    assert len(load_pseudonym_key(folder)) == 32


def test_keys_are_never_overwritten(folder: Path) -> None:
    before = (folder / "ledger.key").read_bytes()
    with pytest.raises(FileExistsError):
        create_keys(folder, ORIGIN)
    assert (folder / "ledger.key").read_bytes() == before


@pytest.mark.parametrize("name", ["ledger.key", "pseudonym.key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_keys_that_others_can_read_are_refused(folder: Path, name: str, mode: int) -> None:
    (folder / name).chmod(mode)
    with pytest.raises(LedgerMissing, match="chmod 600"):
        load_ledger_key(folder) if name == "ledger.key" else load_pseudonym_key(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_reads_the_keys_of_the_ledgers_user(folder: Path) -> None:
    """Under systemd the tools are root's and the keys are not: numbers would be shown as erased."""
    for name in ("ledger.key", "pseudonym.key"):
        os.chown(folder / name, 60_001, 60_003)
    assert load_ledger_key(folder).vkey == load_vkey(folder)
    assert len(load_pseudonym_key(folder)) == 32


@pytest.mark.parametrize("name", ["ledger.key", "pseudonym.key", "ledger.vkey"])
def test_a_missing_key_names_init(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(LedgerMissing, match="ivr init"):
        load_pseudonym_key(folder) if name == "pseudonym.key" else load_ledger_key(folder)


def test_an_exchanged_key_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    create_keys(tmp_path / "other", ORIGIN)
    (folder / "ledger.key").write_bytes((tmp_path / "other" / "ledger.key").read_bytes())
    with pytest.raises(LedgerMissing, match="exchanged"):
        load_ledger_key(folder)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"00" * 31, b"zz" * 32])
def test_damaged_keys_are_refused(folder: Path, content: bytes) -> None:
    for name in ("ledger.key", "pseudonym.key"):
        (folder / name).write_bytes(content)
        with pytest.raises(LedgerMissing, match=name):
            load_ledger_key(folder) if name == "ledger.key" else load_pseudonym_key(folder)


def test_another_kind_of_key_is_refused(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    pem = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ledger.key").write_bytes(pem)
    with pytest.raises(LedgerMissing, match="Ed25519"):
        load_ledger_key(folder)


def test_one_caller_has_one_pseudonym_however_written() -> None:
    spellings = [
        "+49 30 123-456",
        "sip:+4930123456@example.org",
        '"A" <sip:+4930123456@x;user=phone>',
        "tel:+49(30)123456",
    ]
    assert {normalised(one) for one in spellings} == {"+4930123456"}
    assert len({pseudonym(one, b"k" * 32) for one in spellings}) == 1


def test_a_pseudonym_depends_on_the_key_and_says_nothing() -> None:
    number = "+4930123456"
    assert pseudonym(number, b"k" * 32) != pseudonym(number, b"l" * 32)
    assert number not in pseudonym(number, b"k" * 32)
    assert [name for name, _ in pseudonyms({"caller": number, "dialled": "100", "sip_call_id": "x"}, b"k")] == [
        "caller"
    ]


def test_a_signature_is_what_ed25519_says(folder: Path) -> None:
    key = load_ledger_key(folder)
    assert len(key.sign(b"x")) == 64
    assert key.kid != load_ledger_key(folder).sign(b"x").hex()
    assert Ed25519PrivateKey.generate().public_key().public_bytes_raw() != key.vkey.public
