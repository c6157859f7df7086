# SPDX-License-Identifier: GPL-3.0-or-later
"""The public keys of one log, from its first to the one in force. A key is followed by the one that it signed for.

`keys/ledger.vkey` lists them, oldest first, one C2SP verifier key a line; the last one signs. The file is a help: an
auditor who holds any one of the keys finds the others in the log, where each is announced by the one before it.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from ivr.ledger.event import Event, EventError, header_segment, key_id, verify
from ivr.ledger.note import NoteError, VKey


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys that are known to be the log's, oldest first."""

    keys: tuple[VKey, ...]
    _by_header: dict[bytes, VKey] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.keys or len({key.name for key in self.keys}) != 1:
            raise NoteError("the keys of a log are one or more, and all have its name")
        self._by_header.update({header_segment(key_id(key.public)): key for key in self.keys})

    @classmethod
    def read(cls, path: Path) -> "KeyRing":
        """Read `ledger.vkey`. Raises NoteError naming the file."""
        try:
            return cls(tuple(VKey.parse(line) for line in path.read_text("utf-8").splitlines() if line.strip()))
        except (OSError, UnicodeDecodeError, NoteError) as error:
            raise NoteError(f"{path}: {error}") from None

    @property
    def first(self) -> VKey:
        """The key that the log began with."""
        return self.keys[0]

    @property
    def current(self) -> VKey:
        """The key in force."""
        return self.keys[-1]

    def text(self) -> str:
        """The file."""
        return "".join(f"{key}\n" for key in self.keys)

    def verify(self, jws: bytes) -> Event:
        """An event that one of these keys signed. Raises EventError. That it was its turn is not checked."""
        header = jws.partition(b".")[0]
        key = self._by_header.get(header)
        if key is None:
            raise EventError("the header is not the one of a key of this log (alg EdDSA, kid, typ)")
        return verify(jws, header, key.public)


class CurrentKey:
    """The key in force, read again when its file was replaced: a worker goes on through a rotation."""

    def __init__(self, path: Path) -> None:
        """Raises NoteError when the file cannot be read now."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._key: VKey = VKey.read(path)

    def __call__(self) -> VKey:
        """Raises NoteError when the file is not readable any more."""
        try:
            status = os.stat(self._path)
        except OSError as error:
            raise NoteError(f"{self._path}: {error.strerror}") from None
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            self._key = VKey.read(self._path)
            self._seen = seen
        return self._key


class Succession:
    """Follows the keys through the events of a log, in order. Feed it every event that its `current` key signed.

    `key.added` announces the next key, `key.retired` puts it in force; both are signed by the key before it.
    """

    def __init__(self, first: VKey) -> None:
        self.keys: list[VKey] = [first]
        self.since: list[int] = [0]
        self._announced: VKey | None = None
        self._use(first)

    def _use(self, key: VKey) -> None:
        self.current = key
        self.kid = key_id(key.public)
        self.header = header_segment(self.kid)

    def follow(self, event: Event) -> str | None:
        """Take in a verified event; what is wrong with it as a change of keys, or None."""
        if event.type == "key.added":
            return self._added(event)
        if event.type == "key.retired":
            return self._retired(event)
        return None

    def _added(self, event: Event) -> str | None:
        try:
            key = VKey.parse(str(event.data.get("vkey")))
        except NoteError as error:
            return f"the key that it announces is none: {error}"
        if key.name != self.current.name or key_id(key.public) != event.data.get("kid"):
            return "the key that it announces is not of this log, or has another key id"
        if key == self.current:
            return None if event.seq == 1 else "it announces the key that is in force already"
        if key in self.keys:
            return "it announces a key that was retired"
        if self._announced is not None:
            return "it announces a key while another one waits to be put in force"
        self._announced = key
        return None

    def _retired(self, event: Event) -> str | None:
        if event.data.get("kid") != self.kid:
            return f"it retires {event.data.get('kid')}, the key in force is {self.kid}"
        if self._announced is None:
            return "it retires the key in force, and none was announced to follow it"
        self.keys.append(self._announced)
        self.since.append(event.seq + 1)
        self._use(self._announced)
        self._announced = None
        return None
