# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive as the auditor's checks see it (ivr.audit imports nothing that writes)."""

from collections.abc import Collection

from ivr.audit.files import Elsewhere, ElsewhereFile
from ivr.audit.source import SourceError
from ivr.node.settings import Settings
from ivr.vault.archived import Archive
from ivr.vault.errors import Damaged, NotFound, VaultError
from ivr.vault.segments import segment_name
from ivr.vault.spool import Spool


class ReadArchive:
    """Everything is read from the archive: what is compared with the log is what is there now."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def objects(self) -> list[Elsewhere]:
        """As the archive lists them. Raises SourceError."""
        try:
            return [Elsewhere(one.key, one.call, one.recording) for one in self._archive.listing()]
        except VaultError as error:
            raise SourceError(_told(error)) from error

    def read(self, one: Elsewhere) -> list[ElsewhereFile]:
        """The segments in one of them. Raises SourceError when the archive goes away."""
        try:
            return [ElsewhereFile(file.name, file.sha256, file.bytes) for file in self._archive.files(one.place)]
        except NotFound:
            return []  # erased since it was listed
        except Damaged as error:
            return [ElsewhereFile("", "", 0, f"cannot be read: {error.what}")]
        except VaultError as error:
            raise SourceError(_told(error)) from error


class ListedArchive:
    """What this machine's catalog says is there; nothing is read."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def objects(self) -> list[Elsewhere]:
        """One for each recording. Raises SourceError."""
        return [Elsewhere(f"{call}/{recording}", call, recording) for call, recording in self._spool.ids()]

    def read(self, one: Elsewhere) -> list[ElsewhereFile]:
        """Its segments as they were when they were sent. Raises SourceError."""
        try:
            facts = self._spool.facts(one.call, one.recording)
        except VaultError as error:
            raise SourceError(str(error)) from error
        return [ElsewhereFile(segment_name(f.n, f.start, f.samples), f.sha256, f.bytes) for f in facts]

    def names(self, call: str, recording: str) -> Collection[str]:
        """The files of one recording that are in the archive."""
        return {file.name for file in self.read(Elsewhere("", call, recording))}


def listed(settings: Settings) -> ListedArchive | None:
    """What the catalog says, where an archive is set."""
    there = settings.storage.archive
    return ListedArchive(Spool(there.folder)) if there else None


def _told(error: VaultError) -> str:
    return f"the archive cannot be read: {error}; --no-archive compares without reading it"
