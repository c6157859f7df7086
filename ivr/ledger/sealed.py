# SPDX-License-Identifier: GPL-3.0-or-later
"""Personal fields at rest: each sealed under a secret of its own, kept apart from the database, so that it can die.

Two files of fixed slots. `fields.keys` holds one secret a disclosure; `subjects.keys` one secret a person, from which
the pseudonyms in the database are made. Overwriting a slot makes every copy of the database useless for what it sealed,
wherever that copy is. Slots are themselves sealed under a key made from pseudonym.key: the files alone open nothing.
A slot's number is never given twice, so a database and a key store of different days cannot be taken for each other.
"""

import errno
import hmac
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ivr.ledger.canonical import CanonicalError, b64url, unb64url
from ivr.ledger.errors import LedgerFatal, LedgerMissing

PREFIX = "sealed:"
FIELDS, SUBJECTS = "fields.keys", "subjects.keys"
FIELD_SLOT, SUBJECT_SLOT = 64, 96
SECRET_BYTES = 32
_OVERHEAD = 12 + 16
# Every field key seals one text only, so that its nonce may be constant (NIST SP 800-38D, section 8).
_ONCE = bytes(12)


def slot_of(text: str) -> int | None:
    """The slot that a stored disclosure is sealed under; None for one in clear."""
    number = text[len(PREFIX) :].partition(":")[0] if text.startswith(PREFIX) else ""
    return int(number) if number.isascii() and number.isdigit() else None


class _Slots:
    """A file of sealed, numbered secrets. What was added is durable after `flush`."""

    def __init__(self, path: Path, size: int, cipher: AESGCM, *, write: bool) -> None:
        self.path, self._size, self._cipher = path, size, cipher
        flags = (os.O_RDWR | os.O_CREAT) if write else os.O_RDONLY
        try:
            self._file = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerMissing(f"{path}: cannot be opened: {error.strerror}; `ivr init` makes its folder") from None
        self.next = -(-os.fstat(self._file).st_size // size)
        self._dirty = write and self.next == 0

    def add(self, secret: bytes) -> int:
        slot, self.next = self.next, self.next + 1
        nonce = secrets.token_bytes(12)
        sealed = nonce + self._cipher.encrypt(nonce, secret, self._label(slot))
        self._put(slot, sealed.ljust(self._size, b"\0"))
        self._dirty = True
        return slot

    def _put(self, slot: int, content: bytes) -> None:
        """Raises OSError also when a disk that is nearly full takes only a part: half a secret opens nothing."""
        if os.pwrite(self._file, content, slot * self._size) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self, slot: int) -> bytes | None:
        """The secret, or None when it was destroyed or never was."""
        raw = os.pread(self._file, self._size, slot * self._size)
        body = raw.rstrip(b"\0") if len(raw) == self._size else b""
        if not body:
            return None
        with suppress(InvalidTag, ValueError):
            length = _OVERHEAD + (SECRET_BYTES if self._size == FIELD_SLOT else 2 * SECRET_BYTES)
            return self._cipher.decrypt(raw[:12], raw[12:length], self._label(slot))
        return None

    def destroy(self, slots: Iterable[int]) -> int:
        """Overwrite secrets; on disk when this returns. How many were still there."""
        count = 0
        for slot in slots:
            raw = os.pread(self._file, self._size, slot * self._size)
            count += any(raw)
            if len(raw) == self._size:
                self._put(slot, bytes(self._size))
        os.fsync(self._file)
        return count

    def mark(self, slots: Iterable[int], *, dying: bool) -> None:
        """Note in a slot's last byte, which no secret reaches, that it is to go; on disk when this returns."""
        for slot in slots:
            if os.pwrite(self._file, b"\1" if dying else b"\0", (slot + 1) * self._size - 1) != 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fdatasync(self._file)

    def marked(self, slot: int) -> bool:
        return os.pread(self._file, 1, (slot + 1) * self._size - 1) == b"\1"

    def flush(self) -> None:
        if self._dirty:
            os.fdatasync(self._file)
            self._dirty = False

    def close(self) -> None:
        """Harmless when it is closed already."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _label(self, slot: int) -> bytes:
        return f"{self.path.name}:{slot}".encode()


class FieldOpener:
    """Opens sealed disclosures for who may read key store and pseudonym.key. Reads only."""

    def __init__(self, folder: Path, pseudonym_key: bytes) -> None:
        """Raises LedgerMissing."""
        self._fields = _Slots(folder / FIELDS, FIELD_SLOT, _cipher(pseudonym_key), write=False)

    def open(self, text: str) -> str | None:
        """The disclosure in clear; None when its secret is gone. A text in clear is given as it is."""
        return _opened(text, self._fields)

    def close(self) -> None:
        """Release the file."""
        self._fields.close()


class SubjectSecrets:
    """The ledger's own view: makes and destroys. One thread at a time."""

    def __init__(self, folder: Path, pseudonym_key: bytes, *, used: bool = False) -> None:
        """Raises LedgerMissing when something is not there that was: nothing is made silently.

        `used`: the database holds what was sealed with these files.
        """
        _must_be_whole(folder, used)
        cipher = _cipher(pseudonym_key)
        self._fields = _Slots(folder / FIELDS, FIELD_SLOT, cipher, write=True)
        self._subjects = _Slots(folder / SUBJECTS, SUBJECT_SLOT, cipher, write=True)
        with _fatal(folder):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        self._tags: dict[bytes, int] = {}
        for slot in range(self._subjects.next):
            content = self._subjects.read(slot)
            if content is not None:
                self._tags[content[:SECRET_BYTES]] = slot

    def not_before(self, slot: int) -> None:
        """Leave out the slots up to here: an older key store was put back under a newer database."""
        self._fields.next = max(self._fields.next, slot)

    def seal(self, text: str) -> str:
        """A disclosure sealed under a new secret, which is durable after `flush`."""
        key = secrets.token_bytes(SECRET_BYTES)
        with _fatal(self._fields.path):
            slot = self._fields.add(key)
        return f"{PREFIX}{slot}:{b64url(AESGCM(key).encrypt(_ONCE, text.encode(), None)).decode()}"

    def open(self, text: str) -> str | None:
        """As FieldOpener.open."""
        return _opened(text, self._fields)

    def subject(self, tag: bytes, *, make: bool) -> str | None:
        """The pseudonym of a person, found by a keyed hash of their number; made when `make` and there is none."""
        slot = self._tags.get(tag)
        if slot is None:
            if not make:
                return None
            with _fatal(self._subjects.path):
                slot = self._subjects.add(tag + secrets.token_bytes(SECRET_BYTES))
            self._tags[tag] = slot
        content = self._subjects.read(slot)
        if content is None:
            raise LedgerFatal(f"{self._subjects.path}: slot {slot} was changed by somebody else")
        return hmac.new(content[SECRET_BYTES:], b"pseudonym", sha256).hexdigest()

    def under(self, pseudonyms: Iterable[str]) -> list[bytes]:
        """The tags of those who have one of these pseudonyms. Looks at everybody."""
        wanted = frozenset(pseudonyms)
        return [tag for tag in self._tags if wanted and {tag.hex(), self.subject(tag, make=False)} & wanted]

    def condemn(self, tags: Iterable[bytes]) -> None:
        """Note, durably, that these persons' secrets are to go once the database no longer has their pseudonyms."""
        with _fatal(self._subjects.path):
            self._subjects.mark(self._known(tags), dying=True)

    def condemned(self) -> list[bytes]:
        """The tags of those whose secret was to go, and is still there."""
        return [tag for tag, slot in self._tags.items() if self._subjects.marked(slot)]

    def spare(self, tags: Iterable[bytes]) -> None:
        """Take back `condemn`."""
        with _fatal(self._subjects.path):
            self._subjects.mark(self._known(tags), dying=False)

    def forget(self, tags: Sequence[bytes]) -> None:
        """Destroy persons' secrets: no pseudonym made of them can be found by their number again."""
        with _fatal(self._subjects.path):
            self._subjects.destroy(self._known(tags))
        for tag in tags:
            self._tags.pop(tag, None)

    def _known(self, tags: Iterable[bytes]) -> list[int]:
        return [self._tags[tag] for tag in tags if tag in self._tags]

    def flush(self) -> None:
        """What was sealed can be opened after a power cut. Before the database may name it."""
        with _fatal(self._fields.path.parent):
            self._fields.flush()
            self._subjects.flush()

    def destroy(self, texts: Sequence[str]) -> int:
        """Destroy the secrets of these stored disclosures; how many were still there."""
        with _fatal(self._fields.path):
            return self._fields.destroy(slot for text in texts if (slot := slot_of(text)) is not None)

    def close(self) -> None:
        """Release the files."""
        self._fields.close()
        self._subjects.close()


def _must_be_whole(folder: Path, used: bool) -> None:
    if not folder.is_dir() and not used:
        raise LedgerMissing(f"{folder} is not there; the key store of personal data is made once with: ivr init DIR")
    lost = [name for name in (FIELDS, SUBJECTS) if not (folder / name).exists()]
    there = [folder / name for name in (FIELDS, SUBJECTS) if name not in lost]
    if not lost or (not used and not any(path.stat().st_size for path in there)):
        return  # a new log's: they are made, or were when a first start was cut short
    meaning = {
        FIELDS: "without it no personal field that the log holds can be read again",
        SUBJECTS: "without it nobody's calls are found by their number any more, and a person's erasure misses them",
    }
    raise LedgerMissing(
        f"lost: {'; '.join(f'{folder / name} ({meaning[name]})' for name in lost)}. Put it back from the backup of the "
        "key store. Only if there is none, accept the loss by an empty file of that name (mode 0600, the ledger's user)"
    )


@contextmanager
def _fatal(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LedgerFatal(f"{path} cannot be written: {error.strerror}") from error


def _opened(text: str, fields: _Slots) -> str | None:
    slot = slot_of(text)
    if slot is None:
        return None if text.startswith(PREFIX) else text
    key = fields.read(slot)
    if key is None:
        return None
    try:
        return AESGCM(key).decrypt(_ONCE, unb64url(text.rpartition(":")[2].encode()), None).decode()
    except (InvalidTag, CanonicalError, ValueError):
        return None


def _cipher(pseudonym_key: bytes) -> AESGCM:
    return AESGCM(hmac.new(pseudonym_key, b"assent: seals the secrets of personal fields", sha256).digest())
