# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive in a folder, of a shared file system most of all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ivr.vault.durable import is_leftover, leftovers_of, make_folder, remove_if_empty, sync_folder, write_durably
from ivr.vault.errors import ArchiveAway, ArchiveRefused, NotFound, VaultError
from ivr.vault.remote import Stored

MARK = "assent-archive"
"""A file of this name says that the folder is an archive: without it the file system is not mounted."""


class FolderRemote:
    """Objects as files: temporary name, fsync, rename, fsync of the folder."""

    def __init__(self, folder: Path) -> None:
        self.where = folder.as_uri()
        self._folder = folder

    def begin(self) -> None:
        """Write the mark."""
        with self._told():
            write_durably(self._folder / MARK, b"sealed recordings of Assent servers\n", replace=True)

    def put(self, key: str, data: bytes) -> None:
        with self._told():
            self._must_be_mounted()
            path = self._path(key)
            for folder in reversed(path.relative_to(self._folder).parents[:-1]):
                make_folder(self._folder / folder)
            # This node's alone to write: what is there under a temporary name is of a write that never finished.
            for copy in leftovers_of(path):
                copy.unlink()
            write_durably(path, data, replace=True, group_as_folder=True)

    def get(self, key: str) -> bytes:
        with self._told():
            self._must_be_mounted()
            try:
                return self._path(key).read_bytes()
            except FileNotFoundError as error:
                raise NotFound("is not in the archive", f"{self.where}/{key}") from error

    def keys(self, prefix: str) -> list[Stored]:
        with self._told():
            self._must_be_mounted()
            found = (path for path in self._path(prefix).rglob("*") if not path.is_dir() and not is_leftover(path.name))
            stored = [Stored(path.relative_to(self._folder).as_posix(), path.lstat().st_size) for path in found]
            return sorted(stored, key=lambda one: one.key)

    def remove(self, prefix: str) -> int:
        with self._told():
            self._must_be_mounted()
            top, removed = self._path(prefix), 0
            if not top.is_dir():
                return 0
            # Leftovers of writes too: a crash may have left sealed bytes under a temporary name.
            for path in sorted(top.rglob("*"), reverse=True):
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                else:
                    path.unlink()
                    removed += 1
            sync_folder(top)
            remove_if_empty(top)
            remove_if_empty(top.parent)
            return removed

    def _path(self, key: str) -> Path:
        if ".." in Path(key).parts:
            raise ArchiveRefused("no such key", key)
        return self._folder / key

    def _must_be_mounted(self) -> None:
        if not (self._folder / MARK).is_file():
            what = f"there is no file {MARK!r}: it is not mounted, or no archive yet"
            raise ArchiveAway(what, self.where, "mount it; for a new one: ivr archive check --create")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (ArchiveAway, ArchiveRefused, NotFound):
            raise
        except (VaultError, OSError) as error:
            raise ArchiveAway(str(error), self.where) from error
