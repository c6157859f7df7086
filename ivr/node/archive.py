# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's recordings, on its disk and in its archive; the process that moves them, and what it says of itself."""

import asyncio
import fcntl
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from ivr.ledger.keyring import KeyRing
from ivr.node.settings import Settings
from ivr.vault.archived import Archive
from ivr.vault.archiver import Archiver, Pace, Round
from ivr.vault.durable import make_folder
from ivr.vault.errors import ArchiveError, VaultError
from ivr.vault.remote import Place, open_remote
from ivr.vault.segments import parse_segment_name
from ivr.vault.spool import Spool
from ivr.vault.store import RecordingStore

log = logging.getLogger(__name__)

EVERY_S = 30.0
NICE = 10
BACKOFF_S = (5.0, 15.0, 60.0, 300.0)
"""How long to wait after so many rounds in a row that failed."""


def vault_of(settings: Settings, *, writing: bool = False) -> RecordingStore:
    """The vault of a server; `writing`: new recordings can be made. Raises VaultError.

    What is in its archive is listed without asking it; credentials are needed when something there is read.
    """
    storage = settings.storage
    there = storage.archive
    return RecordingStore(
        storage.recordings,
        storage.keystore,
        settings.keys.recipients if writing else None,
        min_free_bytes=storage.min_free * 1_000_000,
        spool=Spool(there.folder) if there else None,
        archive=cache(partial(open_archive, settings)) if there else None,
    )


def open_archive(settings: Settings) -> Archive:
    """The node's archive. Nothing is sent yet. Raises ArchiveError; also when none is set."""
    there = settings.storage.archive
    if there is None:
        raise ArchiveError("no archive is set", settings.folder / "server.yaml", "see docs/operate/storage.md")
    place = Place(there.url, there.endpoint, there.region, there.credentials, there.ca, there.plain_http)
    return Archive(Spool(there.folder), open_remote(place), node_name(settings))


def node_name(settings: Settings) -> str:
    """The name below which this node writes: its log's, as nodes have one each, and the hash of the log's first key.

    Without a slash, so that no node's folder is inside another's.
    """
    key = KeyRing.read(settings.keys.ledger_public).first
    return f"{re.sub(r'[^A-Za-z0-9.-]', '_', key.name)}-{key.key_hash.hex()}"


# -- moving ------------------------------------------------------------------------------------------------------------


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold the lock of the one archiver of this node. Raises ArchiveError when another one has it."""
    folder = _spool(settings).folder
    if not folder.is_dir():
        make_folder(folder)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveError("another archiver runs", folder, "it does the same; `ivr archive status`") from None
        yield
    finally:
        os.close(handle)


def archiver(settings: Settings) -> Archiver:
    """What moves this node's recordings. Raises ArchiveError."""
    archive = open_archive(settings)
    archive.spool.create()
    archive.spool.tidy(time.time())
    there = settings.storage.archive
    pace = Pace(there.settle.seconds, there.keep.seconds) if there else Pace()
    return Archiver(vault_of(settings), archive, pace)


def give_way() -> None:
    """Calls come first. A unit that says `Nice=` may forbid to change it, even by 0, so only a lower one is changed."""
    if (now := os.getpriority(os.PRIO_PROCESS, 0)) < NICE:
        os.nice(NICE - now)


async def run_archiver(settings: Settings, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
    """Move what is there until `stop` is set; an archive that is away is asked again. Raises ArchiveError at first."""
    give_way()
    with alone(settings):
        mover, spool, failures = archiver(settings), _spool(settings), 0
        on_ready()
        while not stop.is_set():
            done = await asyncio.to_thread(mover.round, time.time(), stop.is_set)
            if done.error is None and failures:
                log.info("the archive is back")
            elif done.error is not None and not failures:
                log.error("archive: %s", done.error)
            failures = failures + 1 if done.error is not None else 0
            wait = BACKOFF_S[min(failures, len(BACKOFF_S)) - 1] if failures else EVERY_S
            tell(spool, done, wait)
            try:
                async with asyncio.timeout(wait):
                    await stop.wait()
            except TimeoutError:
                continue


def tell(spool: Spool, done: Round, wait: float | None) -> None:
    """Leave word for `status` of a round that has just ended."""
    now = time.time()
    said = spool.said()
    said |= {
        "at": now,
        "error": None if done.error is None else str(done.error),
        "error_kind": None if done.error is None else done.error.category,
        "next_at": None if wait is None else now + wait,
    }
    if done.error is None:
        said["success_at"] = now
    for name in ("packs", "segments", "bytes", "erased"):
        said[f"total_{name}"] = int(said.get(f"total_{name}") or 0) + getattr(done, name)
    try:
        spool.say(said)
    except VaultError as error:  # a full disk must not end the one thing that empties it
        log.error("cannot write the archiver's status: %s", error)


# -- status ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ArchiveStatus:
    """How far the archive is behind. Times in seconds from now; None where there is nothing."""

    url: str
    node: str
    running: bool
    waiting_recordings: int = 0
    waiting_segments: int = 0
    waiting_bytes: int = 0
    oldest_waiting_s: float | None = None
    archived_recordings: int = 0
    erasures_waiting: int = 0
    oldest_erasure_s: float | None = None
    last_success_s: float | None = None
    error: str | None = None
    error_kind: str | None = None
    next_try_s: float | None = None
    total_packs: int = 0
    total_segments: int = 0
    total_bytes: int = 0
    total_erased: int = 0
    free_bytes: int = 0
    alarms: list[str] = field(default_factory=list)


def status(settings: Settings) -> ArchiveStatus | None:
    """How it stands, from this machine's disk alone; None when no archive is set. Raises VaultError."""
    there = settings.storage.archive
    if there is None:
        return None
    now, spool = time.time(), Spool(there.folder)
    found = ArchiveStatus(there.url, node_name(settings), _is_running(spool))
    _count(found, vault_of(settings), spool, now)
    orders = spool.erasures()
    found.archived_recordings = sum(1 for _ in spool.ids())
    found.erasures_waiting = len(orders)
    found.oldest_erasure_s = round(now - orders[0].since, 1) if orders else None
    _take_over(found, spool.said(), now)
    info = os.statvfs(settings.storage.recordings)
    found.free_bytes = info.f_bavail * info.f_frsize
    found.alarms = list(_alarms(found, settings))
    return found


def _count(found: ArchiveStatus, store: RecordingStore, spool: Spool, now: float) -> None:
    for call, recording in store.local_ids():
        here = [
            (named[0], path) for path in store.local_files(call, recording) if (named := parse_segment_name(path.name))
        ]
        sent = {fact.n for fact in spool.facts(call, recording)} if here else set()
        waiting = 0
        for n, path in here:
            if n in sent:
                continue
            try:
                info = path.stat()
            except FileNotFoundError:  # moved since it was listed
                continue
            waiting += 1
            found.waiting_bytes += info.st_size
            found.oldest_waiting_s = max(found.oldest_waiting_s or 0.0, round(now - info.st_mtime, 1))
        found.waiting_segments += waiting
        found.waiting_recordings += waiting > 0


def _take_over(found: ArchiveStatus, said: dict[str, Any], now: float) -> None:
    found.error, found.error_kind = said.get("error"), said.get("error_kind")
    if said.get("success_at"):
        found.last_success_s = round(now - said["success_at"], 1)
    if said.get("next_at") and found.running:
        found.next_try_s = round(max(0.0, said["next_at"] - now), 1)
    for name in ("packs", "segments", "bytes", "erased"):
        setattr(found, f"total_{name}", int(said.get(f"total_{name}") or 0))


def _alarms(found: ArchiveStatus, settings: Settings) -> Iterator[str]:
    there = settings.storage.archive
    if there is None:
        return
    if not found.running:
        yield "no archiver runs: nothing is moved"
    if found.error is not None:
        yield f"the last round failed: {found.error}"
    if found.waiting_bytes > there.spool_max * 1_000_000:
        yield f"{found.waiting_bytes // 1_000_000} MB wait here, more than spool_max ({there.spool_max} MB)"
    if (found.oldest_waiting_s or 0) > there.late.seconds + there.settle.seconds:
        yield f"a segment waits for {found.oldest_waiting_s:.0f} s"
    if (found.oldest_erasure_s or 0) > there.late.seconds:
        yield f"an erasure waits for {found.oldest_erasure_s:.0f} s to be done in the archive; its key is destroyed"
    if found.free_bytes < 2 * settings.storage.min_free * 1_000_000:
        yield f"{found.free_bytes // 1_000_000} MB are free; below {settings.storage.min_free} MB nothing is recorded"


def _is_running(spool: Spool) -> bool:
    try:
        handle = os.open(spool.folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _spool(settings: Settings) -> Spool:
    there = settings.storage.archive
    if there is None:
        raise ArchiveError("no archive is set", settings.folder / "server.yaml", "see docs/operate/storage.md")
    return Spool(there.folder)
