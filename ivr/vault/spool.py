# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known here of the archive: which segments are in which pack of it, and what must still be removed from it.

No network: whoever lists, erases or settles recordings needs this folder alone. `catalog/<call>/<recording>.json` names
the packs of a recording; `erase/<call>.<recording>` says that whatever the archive has of it must go.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.vault.durable import is_leftover, make_folder, remove_durably, remove_if_empty, write_durably
from ivr.vault.errors import Damaged, VaultError, VaultUnwritable, from_os_error
from ivr.vault.segments import SegmentFact

_DAY = 86400.0
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ENTRY = re.compile(rf"({_UUID})\.json")
_NOTE = re.compile(rf"({_UUID})\.({_UUID})")


@dataclass(frozen=True, slots=True)
class Pack:
    """One object of the archive. `sent`: when it was found there whole (Unix seconds), 0 while it may not be there."""

    name: str
    sha256: str
    bytes: int
    sent: float
    segments: tuple[SegmentFact, ...]


@dataclass(frozen=True, slots=True)
class Ordered:
    """An erasure that the archive has still to follow; `since` in Unix seconds."""

    call: str
    recording: str
    since: float


class Spool:
    """The folder. Any thread and process may use it: one archiver writes the catalog, anybody orders erasures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._catalog, self._erase = folder / "catalog", folder / "erase"
        self.status_file = folder / "status.json"

    def create(self) -> None:
        """Make the folders, durably. Raises VaultError when the one they are in is missing or not to be written."""
        try:
            for folder in (self.folder, self._catalog, self._erase):
                if not folder.is_dir():
                    make_folder(folder)
        except OSError as error:
            raise VaultUnwritable(str(error), self.folder, "see docs/operate/storage.md") from error

    # What is in the archive

    def packs(self, call: str, recording: str) -> tuple[Pack, ...]:
        """Every pack, those that may not be there yet too; none of a recording that is to be erased. Raises Damaged."""
        if self.is_erased(call, recording):
            return ()
        path = self._entry(call, recording)
        try:
            return _packs(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise from_os_error(error, "read", path) from error
        except (ValueError, TypeError, KeyError) as error:
            raise Damaged(f"is no entry of the archive's catalog: {error}", path) from error

    def facts(self, call: str, recording: str) -> list[SegmentFact]:
        """The segments that are in the archive, by number, as they were when they were sent."""
        found = {fact.n: fact for pack in self.packs(call, recording) if pack.sent for fact in pack.segments}
        return [found[n] for n in sorted(found)]

    def ids(self) -> Iterator[tuple[str, str]]:
        """(call, recording) of everything in the catalog that is not to be erased."""
        if not self._catalog.is_dir():
            return
        for call in sorted(self._catalog.iterdir()):
            for path in sorted(call.iterdir()):
                found = _ENTRY.fullmatch(path.name)
                if found and not self.is_erased(call.name, found[1]):
                    yield call.name, found[1]

    def save(self, call: str, recording: str, packs: Sequence[Pack]) -> None:
        """Write the entry of a recording, durably."""
        self.create()
        path = self._entry(call, recording)
        make_folder(path.parent)
        value = [
            # Not dataclasses.astuple: it copies, and took two thirds of the archiver's time.
            [
                pack.name,
                pack.sha256,
                pack.bytes,
                pack.sent,
                [[f.n, f.start, f.samples, f.sha256, f.bytes] for f in facts],
            ]
            for pack, facts in ((pack, pack.segments) for pack in packs)
        ]
        text = json.dumps({"v": 1, "packs": value}, separators=(",", ":"))
        write_durably(path, text.encode(), replace=True, group_as_folder=True)

    def forget(self, call: str, recording: str) -> None:
        """Remove the entry of a recording, durably."""
        path = self._entry(call, recording)
        if not path.parent.is_dir():
            return
        remove_durably(path)
        try:
            remove_if_empty(path.parent)
        except OSError as error:
            raise from_os_error(error, "remove", path.parent) from error

    def tidy(self, now: float) -> None:
        """Remove what crashes left half written. The archiver's, which alone writes the catalog; an order may be being
        written by anybody, so only what is a day old goes there."""
        for path in self.folder.rglob(".*"):
            try:
                if is_leftover(path.name) and (
                    path.parent.parent == self._catalog or path.stat().st_mtime < now - _DAY
                ):
                    remove_durably(path)
            except FileNotFoundError:  # another process has finished its own
                continue

    # What must go from it

    def order_erasure(self, call: str, recording: str) -> None:
        """Note, durably, that whatever the archive has of a recording must go. Can be repeated."""
        self.create()
        write_durably(self._note(call, recording), b"", replace=True, group_as_folder=True)

    def is_erased(self, call: str, recording: str) -> bool:
        """Whether its erasure was ordered, and is not done yet. Raises VaultError when that cannot be seen."""
        note = self._note(call, recording)
        try:
            return note.exists()
        except OSError as error:
            raise from_os_error(error, "look for", note) from error

    def erasures(self) -> list[Ordered]:
        """What is to be removed, the oldest order first."""
        found: list[Ordered] = []
        if self._erase.is_dir():
            for path in self._erase.iterdir():
                if name := _NOTE.fullmatch(path.name):
                    found.append(Ordered(name[1], name[2], path.stat().st_mtime))
        return sorted(found, key=lambda one: one.since)

    def erasure_done(self, call: str, recording: str) -> None:
        """The archive has nothing of it any more. The entry goes first: without it the note would hide nothing."""
        self.forget(call, recording)
        remove_durably(self._note(call, recording))

    # What the archiver said last

    def say(self, status: dict[str, Any]) -> None:
        """Leave word for `ivr archive status`. Not durable: after a power cut the next round says it again."""
        write_durably(self.status_file, json.dumps(status).encode(), replace=True, group_as_folder=True)

    def said(self) -> dict[str, Any]:
        """What the archiver said last; empty when it never ran."""
        try:
            value = json.loads(self.status_file.read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def strays(self) -> list[Path]:
        """Files in the folder that are nothing of it."""
        known = {self.status_file}
        found = []
        for path in self.folder.rglob("*"):
            if path.is_dir() or path in known or path.name == "lock":
                continue
            entry = path.parent.parent == self._catalog and _ENTRY.fullmatch(path.name)
            note = path.parent == self._erase and _NOTE.fullmatch(path.name)
            if not entry and not note and not is_leftover(path.name):
                found.append(path)
        return sorted(found)

    def _entry(self, call: str, recording: str) -> Path:
        return self._catalog / _uuid(call) / f"{_uuid(recording)}.json"

    def _note(self, call: str, recording: str) -> Path:
        return self._erase / f"{_uuid(call)}.{_uuid(recording)}"


def _uuid(value: str) -> str:
    if not re.fullmatch(_UUID, value):
        raise VaultError(f"{value!r} is not an id", todo="expected a UUID in lower case")
    return value


def _packs(value: Any) -> tuple[Pack, ...]:
    if value["v"] != 1:
        raise ValueError(f"of version {value['v']!r}")
    return tuple(
        Pack(name, sha256, size, sent, tuple(SegmentFact(*fact) for fact in facts))
        for name, sha256, size, sent, facts in value["packs"]
    )
