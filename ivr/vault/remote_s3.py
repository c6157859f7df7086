# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive in a bucket, through fsspec's s3fs.

s3fs and none of the lighter ones, because erasing has to name the versions of an object, which they cannot.
"""

import configparser
import ipaddress
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientError as HttpError
from botocore.exceptions import BotoCoreError, ClientError
from s3fs import S3FileSystem

from ivr.vault.errors import ArchiveAway, ArchiveError, ArchiveRefused, NotFound
from ivr.vault.remote import Place, Stored

CONNECT_S, READ_S = 5, 30
_AT_ONCE = 1000
_NAMES = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "aws_session_token": "token"}
_NO_VERSIONS = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})


class S3Remote:
    """Objects of one bucket under one prefix."""

    def __init__(self, place: Place, bucket: str, prefix: str) -> None:
        """Raises ArchiveError for credentials or an endpoint that cannot be used."""
        self.where = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        check_endpoint(place)
        verify = str(place.ca) if place.ca else True
        self._s3 = S3FileSystem(
            endpoint_url=place.endpoint,
            client_kwargs={"region_name": place.region, "verify": verify},
            # One try: whoever asks knows better when to try again.
            config_kwargs={
                "connect_timeout": CONNECT_S,
                "read_timeout": READ_S,
                "retries": {"max_attempts": 0},
                "signature_version": "s3v4",
            },
            use_listings_cache=False,
            skip_instance_cache=True,
            **credentials(place.credentials),
        )
        self._s3.retries = 1

    def begin(self) -> None:
        """A bucket needs no mark: one that is not there answers so."""

    def put(self, key: str, data: bytes) -> None:
        with self._told(key):
            self._s3.pipe_file(self._path(key), data)

    def get(self, key: str) -> bytes:
        with self._told(key):
            # One GET: the concurrent way asks for the size first.
            data: bytes = self._s3.cat_file(self._path(key), max_concurrency=1)
            return data

    def keys(self, prefix: str) -> list[Stored]:
        listed = self._pages("list_objects_v2", prefix, "ContinuationToken", "NextContinuationToken")
        found = [Stored(one["Key"].removeprefix(self._prefix), one["Size"]) for page in listed for one in page]
        return sorted(found, key=lambda one: one.key)

    def remove(self, prefix: str) -> int:
        removed = 0
        while objects := self._everything(prefix):
            for at in range(0, len(objects), _AT_ONCE):
                part = objects[at : at + _AT_ONCE]
                with self._told(prefix):
                    # Quiet: only what was not removed is answered.
                    done = self._s3.call_s3(
                        "delete_objects", Bucket=self._bucket, Delete={"Objects": part, "Quiet": True}
                    )
                if errors := done.get("Errors"):
                    what = f"{len(errors)} objects or versions cannot be removed: {errors[0].get('Code')}"
                    raise ArchiveRefused(what, f"{self.where}/{prefix}", "a lock of the store may hold them")
                removed += len(part)
            left = self._everything(prefix)
            if {(one["Key"], one.get("VersionId")) for one in left} & {
                (one["Key"], one.get("VersionId")) for one in objects
            }:
                raise ArchiveRefused(f"{len(left)} objects or versions are left", f"{self.where}/{prefix}")
        return removed

    def _everything(self, prefix: str) -> list[dict[str, str]]:
        """Objects, older versions and delete markers; where the store knows no versions, objects."""
        try:
            pages = list(self._versions(prefix))
        except ArchiveRefused as error:
            if _code(error.__cause__) not in _NO_VERSIONS:
                raise
            return [{"Key": self._prefix + one.key} for one in self.keys(prefix)]
        return [{"Key": one["Key"], "VersionId": one["VersionId"]} for page in pages for one in page]

    def _versions(self, prefix: str) -> Iterator[list[dict[str, Any]]]:
        more: dict[str, str] = {}
        while True:
            with self._told(prefix):
                page = self._s3.call_s3(
                    "list_object_versions", Bucket=self._bucket, Prefix=self._prefix + prefix, **more
                )
            yield [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            if not page.get("IsTruncated"):
                return
            more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def _pages(self, call: str, prefix: str, ask: str, answer: str) -> Iterator[list[dict[str, Any]]]:
        more: dict[str, str] = {}
        while True:
            with self._told(prefix):
                page = self._s3.call_s3(call, Bucket=self._bucket, Prefix=self._prefix + prefix, **more)
            yield list(page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            more = {ask: page[answer]}

    def _path(self, key: str) -> str:
        return f"{self._bucket}/{self._prefix}{key}"

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """The store's errors as ours. A text of botocore names endpoint and code, never a secret."""
        where = f"{self.where}/{key}"
        try:
            yield
        except FileNotFoundError as error:
            if _code(error) == "NoSuchBucket":
                raise ArchiveRefused("there is no such bucket", self.where, "create it, or correct the URL") from error
            raise NotFound("is not in the archive", where) from error
        except PermissionError as error:
            todo = "check the credentials, and what they may do"
            raise ArchiveRefused(f"the store refuses: {_code(error) or error}", where, todo) from error
        except (OSError, ClientError) as error:
            code = _code(error)
            if code and not code.startswith("5") and code not in {"SlowDown", "InternalError", "ServiceUnavailable"}:
                raise ArchiveRefused(f"the store refuses: {code}: {error}", where) from error
            raise ArchiveAway(f"the store does not answer as it should: {error}", where) from error
        except (BotoCoreError, HttpError, TimeoutError) as error:
            raise ArchiveAway(f"cannot reach the store: {error}", where) from error


def _code(error: BaseException | None) -> str:
    """The store's error code, wherever s3fs put the answer."""
    while error is not None:
        if isinstance(error, ClientError):
            return str(error.response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""


def check_endpoint(place: Place) -> None:
    """Raises ArchiveError for plain HTTP that was not asked for, or to anywhere but a private address."""
    if place.endpoint is None:
        return
    parts = urlsplit(place.endpoint)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme != "http" or not parts.hostname:
        raise ArchiveError("is no endpoint", place.endpoint, "expected https://HOST[:PORT]")
    if not place.plain_http:
        raise ArchiveError("is not encrypted", place.endpoint, "use https, or set plain_http on a network of your own")
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        if parts.hostname == "localhost":
            return
        todo = "with plain_http, name the endpoint by its private IP address"
        raise ArchiveError("is not encrypted, and its name may lead anywhere", place.endpoint, todo) from None
    if not (address.is_loopback or address.is_private):
        raise ArchiveError("is not encrypted, and not on a private network", place.endpoint, "use https")


def credentials(file: Path | None) -> dict[str, str]:
    """Key, secret and token, from the file (0600) or else the environment. Raises ArchiveError; never shows one."""
    if file is None:
        found = {ours: os.environ[name.upper()] for name, ours in _NAMES.items() if os.environ.get(name.upper())}
        where: object = "environment"
    else:
        found, where = _from_file(file), file
    if not {"key", "secret"} <= found.keys():
        todo = "expected aws_access_key_id and aws_secret_access_key"
        raise ArchiveError("no credentials for the archive", where, todo)
    return found


def _from_file(file: Path) -> dict[str, str]:
    try:
        with file.open(encoding="utf-8") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ArchiveError("others may read these credentials", file, f"chmod 600 {file}")
            parser = configparser.ConfigParser(interpolation=None)
            parser.read_file(opened)
    except OSError as error:
        raise ArchiveError(f"cannot read the credentials: {error.strerror}", file) from error
    except (configparser.Error, UnicodeError):
        # Its text quotes the line, which may be the secret.
        todo = "expected [default] and aws_access_key_id = …, aws_secret_access_key = …"
        raise ArchiveError("is no file of credentials", file, todo) from None
    if not parser.has_section("default"):
        raise ArchiveError("has no section [default]", file)
    section = parser["default"]
    return {ours: section[name] for name, ours in _NAMES.items() if section.get(name)}
