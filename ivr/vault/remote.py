# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive as a place for objects: a folder that several machines share, or a bucket of an S3-compatible store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from ivr.vault.errors import ArchiveError


@dataclass(frozen=True, slots=True)
class Place:
    """Where an archive is. `url`: `s3://bucket/prefix` or `file:///folder`; the rest is for S3 alone.

    `credentials`: a file as `aws configure` writes it; without it the environment has them. `ca`: PEM certificates to
    check the endpoint's by, in place of the usual ones. `plain_http` allows an http:// endpoint.
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    credentials: Path | None = None
    ca: Path | None = None
    plain_http: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """One object: its key and length in bytes."""

    key: str
    bytes: int


class Remote(Protocol):
    """Objects by key; keys are relative paths. All methods are thread-safe, and raise ArchiveAway or ArchiveRefused."""

    where: str
    """The URL, for people; never with credentials."""

    def put(self, key: str, data: bytes) -> None:
        """Write one object whole and durably, in place of the one that is there."""

    def get(self, key: str) -> bytes:
        """Read one object whole. Raises NotFound."""

    def keys(self, prefix: str) -> list[Stored]:
        """The objects whose key begins so (a folder: it ends with /), by key."""

    def remove(self, prefix: str) -> int:
        """Remove every object whose key begins so, with all its versions where the store keeps them; how many.

        Raises ArchiveRefused when any of them is left.
        """

    def begin(self) -> None:
        """Make the place known as an archive, once, where that is needed."""


def open_remote(place: Place) -> Remote:
    """The archive at `place`; nothing is sent yet. Raises ArchiveError for a URL that is none, or a missing program."""
    parts = urlsplit(place.url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        from ivr.vault.remote_folder import FolderRemote

        return FolderRemote(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        # A server without an archive in the cloud needs neither these packages nor the memory they take.
        try:
            from ivr.vault.remote_s3 import S3Remote
        except ModuleNotFoundError as error:
            todo = "install it with: pip install 'assent-ivr[s3]'"
            raise ArchiveError(f"the package {error.name} is not installed", place.url, todo) from error
        return S3Remote(place, parts.netloc, parts.path.strip("/"))
    raise ArchiveError("is no archive", place.url, "expected s3://bucket/prefix or file:///folder")
