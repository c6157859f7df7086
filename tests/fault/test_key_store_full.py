# SPDX-License-Identifier: GPL-3.0-or-later
"""The key store of personal fields on a disk that is full: a typed error, and never half a secret under a field."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ivr.ledger.errors import LedgerFatal
from ivr.ledger.ids import uuid7
from ivr.ledger.keeping import PersonalSettings
from ivr.ledger.sealed import FIELD_SLOT, SUBJECT_SLOT, SubjectSecrets
from ledger_kit import make_home, received

KEY = bytes(32)


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file may grow beyond this; the write that would is cut short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("left", [0, 1, FIELD_SLOT - 1])
def test_half_a_secret_is_an_error(tmp_path: Path, left: int) -> None:
    store = SubjectSecrets(tmp_path, KEY)
    sealed = [store.seal("a"), store.seal("b")]
    with room(2 * FIELD_SLOT + left), pytest.raises(LedgerFatal, match=r"fields\.keys cannot be written"):
        store.seal("c")
    assert [store.open(text) for text in sealed] == ["a", "b"]
    store.close()


def test_half_a_persons_secret_is_an_error(tmp_path: Path) -> None:
    store = SubjectSecrets(tmp_path, KEY)
    with room(SUBJECT_SLOT - 1), pytest.raises(LedgerFatal, match=r"subjects\.keys cannot be written"):
        store.subject(b"t" * 32, make=True)
    store.close()


def test_the_log_goes_on_after_a_restart_with_room(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    settings = PersonalSettings(tmp_path / "subjects")
    (tmp_path / "subjects").mkdir()
    log = home.open(personal=settings)
    with room(FIELD_SLOT + 1), pytest.raises(LedgerFatal):
        log.append([received()])
    log.close()
    log = home.open(personal=settings)
    log.append([replace(received(uuid7()), personal={"caller": "sip:+4930123456@example.org"})], checkpoint=True)
    texts = [row.text for row in log._store.personal([(2, None)])]
    log.close()
    store = SubjectSecrets(tmp_path / "subjects", home_key(tmp_path))
    assert [store.open(text) is not None for text in texts] == [True]
    store.close()
    assert home.verify() == []


def home_key(folder: Path) -> bytes:
    return bytes.fromhex((folder / "keys" / "pseudonym.key").read_text().strip())
