# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed notes, checkpoints and verifier keys as C2SP writes them."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr.ledger.note import Checkpoint, NoteError, VKey, open_checkpoint, open_note, sign_note

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
KEY = VKey("example.org/consent-log", PRIVATE.public_key().public_bytes_raw())
OTHER_PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
OTHER = VKey("witness.example", OTHER_PRIVATE.public_key().public_bytes_raw())
CHECKPOINT = Checkpoint(KEY.name, 7, b"\x09" * 32)
NOTE = sign_note(CHECKPOINT.text(), KEY, PRIVATE.sign)


def test_the_verifier_key_of_the_worked_example() -> None:
    assert str(KEY) == "example.org/consent-log+19c17a43+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
    assert VKey.parse(str(KEY) + "\n") == KEY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "example.org/consent-log+19c17a44+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c",
        "example.org/other+19c17a43+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c",
        "example.org/consent-log+19c17a43+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c",
        "example.org/consent-log+19c17a43+AYqI4910CfGV!",
        "example.org/consent-log+19c17a43+AYqI",
    ],
)
def test_a_wrong_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        VKey.parse(text)


def test_a_key_name_has_no_spaces_and_no_plus() -> None:
    for name in ("", "a b", "a+b", "a\u2003b", "a\n"):
        with pytest.raises(NoteError, match="key name"):
            VKey(name, KEY.public)


def test_a_key_for_which_anybody_can_sign_is_refused() -> None:
    for public in (b"\x01" + bytes(31), bytes(32)):
        with pytest.raises(NoteError, match="small order"):
            VKey("example.org/log", public)


def test_a_file_with_a_bad_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.vkey"
    path.write_text("nonsense")
    with pytest.raises(NoteError, match=r"x\.vkey"):
        VKey.read(path)


def test_a_checkpoint_is_read_back() -> None:
    assert open_checkpoint(NOTE, KEY) == CHECKPOINT


def test_unknown_signatures_are_ignored_and_a_known_wrong_one_is_not() -> None:
    both = NOTE + sign_note(CHECKPOINT.text(), OTHER, OTHER_PRIVATE.sign).rpartition("\n\n")[2]
    assert open_checkpoint(both, KEY) == CHECKPOINT
    assert open_note(both, [KEY, OTHER]) == CHECKPOINT.text()
    forged = NOTE + sign_note(CHECKPOINT.text(), OTHER, PRIVATE.sign).rpartition("\n\n")[2]
    assert open_checkpoint(forged, KEY) == CHECKPOINT
    with pytest.raises(NoteError, match="does not hold"):
        open_note(forged, [KEY, OTHER])


def test_a_note_without_a_known_signature_is_refused() -> None:
    with pytest.raises(NoteError, match="not signed by"):
        open_note(sign_note(CHECKPOINT.text(), OTHER, OTHER_PRIVATE.sign), [KEY])


def test_any_changed_byte_of_a_note_is_refused() -> None:
    for place in range(len(NOTE)):
        if NOTE[place] == "\n" and place == len(NOTE) - 1:
            continue
        changed = NOTE[:place] + ("A" if NOTE[place] != "A" else "B") + NOTE[place + 1 :]
        with pytest.raises(NoteError):
            open_checkpoint(changed, KEY)


@pytest.mark.parametrize("note", ["", "text\n", NOTE[:-1], NOTE.replace("\n\n", "\n"), NOTE.replace("7", "\t")])
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(NoteError):
        open_note(note, [KEY])


@pytest.mark.parametrize(
    "text",
    [
        "a\n07\nAAAA\n",
        "a\n-1\nAAAA\n",
        "a\n1\nAAAA\n",
        "a\n1\n",
        "\n1\n" + "A" * 43 + "=\n",
        "a\n1\n" + "A" * 43 + "=\nx\n",
    ],
)
def test_a_wrong_checkpoint_body_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_a_checkpoint_of_another_log_is_refused_though_signed() -> None:
    note = sign_note(Checkpoint("example.org/other", 7, b"\x09" * 32).text(), KEY, PRIVATE.sign)
    with pytest.raises(NoteError, match="other"):
        open_checkpoint(note, KEY)


def test_only_text_can_be_signed() -> None:
    for text in ("no newline", "tab\t\n"):
        with pytest.raises(NoteError, match="newline"):
            sign_note(text, KEY, PRIVATE.sign)
