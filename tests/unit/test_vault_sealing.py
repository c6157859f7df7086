# SPDX-License-Identifier: GPL-3.0-or-later
"""Two locks in a row, both of which the `age` command opens; and clear words for a key file that cannot be used."""

import subprocess
from pathlib import Path

import pytest
from pyrage import x25519

from ivr.vault.errors import CannotOpen, KeyFileError
from ivr.vault.sealing import (
    Recipients,
    load_identities,
    load_recipients,
    new_recording_key,
    open_recording_key,
    open_sealed,
    seal,
)


def test_both_locks_open_with_the_age_command_alone(tmp_path: Path) -> None:
    officers = [x25519.Identity.generate() for _ in range(2)]
    sealed, public = new_recording_key(Recipients(tuple(str(o.to_public()) for o in officers)), "a note")
    (tmp_path / "key.age").write_bytes(sealed)
    (tmp_path / "audio.age").write_bytes(seal(b"audio", public))
    for officer in officers:
        (tmp_path / "officer").write_text(str(officer) + "\n")
        for identity, file, out in (("officer", "key.age", "key"), ("key", "audio.age", "audio")):
            command = ["age", "-d", "-i", tmp_path / identity, "-o", tmp_path / out, tmp_path / file]
            subprocess.run(command, check=True, timeout=20)
        assert (tmp_path / "audio").read_bytes() == b"audio"
        assert (tmp_path / "key").read_text().startswith("# a note\n")
        (tmp_path / "audio").unlink()


def test_each_recording_has_its_own_key() -> None:
    officer = x25519.Identity.generate()
    recipients = Recipients((str(officer.to_public()),))
    (first, first_public), (second, _) = (new_recording_key(recipients, "") for _ in range(2))
    assert open_sealed(seal(b"a", first_public), open_recording_key(first, [officer], "k"), "f") == b"a"
    with pytest.raises(CannotOpen):
        open_sealed(seal(b"a", first_public), open_recording_key(second, [officer], "k"), "f")
    with pytest.raises(CannotOpen):
        open_sealed(seal(b"a", first_public), [officer], "f")
    with pytest.raises(CannotOpen):
        open_recording_key(first, [x25519.Identity.generate()], "k")


def test_a_changed_byte_does_not_open() -> None:
    secret = x25519.Identity.generate()
    sealed = bytearray(seal(b"a" * 1000, secret.to_public()))
    sealed[-500] ^= 1
    with pytest.raises(CannotOpen, match="here"):
        open_sealed(bytes(sealed), [secret], "here")


def test_recipients_may_have_comments_and_repeats(tmp_path: Path) -> None:
    key = str(x25519.Identity.generate().to_public())
    (tmp_path / "r").write_text(f"# officer\n\n  {key}  \n{key}\n")
    assert load_recipients(tmp_path / "r") == Recipients((key,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no recipient"),
        ("# only a comment\n", "no recipient"),
        ("# c\nage1nonsense\n", "r:2: not an age X25519 recipient"),
        ("ssh-ed25519 AAAA\n", "r:1: not an age X25519 recipient"),
        (f"{x25519.Identity.generate()}\n", "r:1: a secret key among the recipients"),
    ],
    ids=["empty", "comment", "nonsense", "ssh", "secret"],
)
def test_a_bad_recipients_file_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "r").write_text(text)
    with pytest.raises(KeyFileError, match=said):
        load_recipients(tmp_path / "r")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot read"):
        load_recipients(tmp_path / "none")
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KeyFileError, match="not a text file"):
        load_identities(tmp_path / "b")


def test_identities_may_have_comments_and_several_lines(tmp_path: Path) -> None:
    keys = [x25519.Identity.generate() for _ in range(2)]
    (tmp_path / "i").write_text(f"# created\n{keys[0]}\n\n# other\n{keys[1]}\n")
    public = [str(i.to_public()) for i in load_identities(tmp_path / "i")]
    assert public == [str(k.to_public()) for k in keys]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no identity"),
        (f"{x25519.Identity.generate().to_public()}\n", "i:1: .*a recipient, not an identity"),
        ("age-encryption.org/v1\n", "itself encrypted"),
        ("hello\n", "expected AGE-SECRET-KEY-1"),
    ],
    ids=["empty", "recipient", "encrypted", "hello"],
)
def test_a_bad_identity_file_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "i").write_text(text)
    with pytest.raises(KeyFileError, match=said):
        load_identities(tmp_path / "i")


def test_a_mistyped_secret_is_not_repeated(tmp_path: Path) -> None:
    secret = str(x25519.Identity.generate())
    (tmp_path / "i").write_text(secret[:-1] + "\n")
    with pytest.raises(KeyFileError, match="i:1: not a valid age identity") as caught:
        load_identities(tmp_path / "i")
    assert secret[20:40] not in str(caught.value)
