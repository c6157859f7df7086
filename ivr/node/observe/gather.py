# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks all parts of a node how they stand, each with a deadline, all at the same time."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography import x509

from ivr import __version__
from ivr.ledger.askstats import ask_stats
from ivr.ledger.errors import LedgerError
from ivr.ledger.keyring import KeyRing
from ivr.ledger.note import NoteError
from ivr.node import archive
from ivr.node.edge.control import EdgeControl, EdgeStatus
from ivr.node.edge.rpc import EdgeRefused
from ivr.node.observe.snapshot import Snapshot
from ivr.node.observe.totals import MediaTotals, total
from ivr.node.settings import Settings
from ivr.vault.errors import VaultError

log = logging.getLogger(__name__)

LEDGER_S = 1.0
EDGE_S = 2.0
FRESH_S = 1.0
"""Several who ask within this time get one answer: a scrape, a probe and another scrape cost one question."""

SLOW_S = 30.0
"""How often the archive's spool and the certificate are looked at: that reads the disk."""

PoolStatus = Callable[[], Mapping[str, Any] | str]
"""Manager.status(), or why there is none."""

Had = tuple[Any, str]


class Gatherer:
    """`pool` is called for the manager's status; `alarms` for what `ivr log watch` printed last."""

    def __init__(
        self, settings: Settings, pool: PoolStatus, *, alarms: Callable[[], str] = str, name: str = "metrics"
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._alarms = alarms
        self._name = name
        self._media = MediaTotals()
        self._edge = EdgeControl.of(settings) if settings.pool.edge else None
        self._turn = asyncio.Lock()
        self._newest: Snapshot | None = None
        self._newest_at = float("-inf")
        self._slow: tuple[Had, float | None] = ((None, ""), None)
        self._slow_at = float("-inf")
        self._origin = _origin(settings.keys.ledger_public)

    async def snapshot(self) -> Snapshot:
        """How the node stands, at most FRESH_S old. Never raises for a part that is away."""
        async with self._turn:
            now = time.monotonic()
            if self._newest is None or now - self._newest_at >= FRESH_S:
                self._newest, self._newest_at = await self._ask(), time.monotonic()
            return self._newest

    def close(self) -> None:
        """Lets sockets go."""
        if self._edge is not None:
            self._edge.close()

    def note_media(self) -> None:
        """Takes in what workers counted, so that those that end until the next question are not forgotten."""
        self._see_media(self._pool())

    def _see_media(self, pool: Mapping[str, Any] | str) -> None:
        workers = [] if isinstance(pool, str) else pool["workers"]
        there = [one for one in workers if one["pid"] and one["state"] != "gone"]
        self._media.see({int(one["pid"]): one["stats"].get("media", {}) for one in there})

    def worker_gone(self, pid: int, stats: Mapping[str, Any]) -> None:
        """A worker has ended; `stats` are its last."""
        self._media.last(pid, stats.get("media", {}))

    async def _ask(self) -> Snapshot:
        began = time.monotonic()
        (ledger, ledger_error), (edge, edge_error), (stored, until) = await asyncio.gather(
            self._ask_ledger(), self._ask_edge(), self._ask_disk()
        )
        pool = self._pool()
        self._see_media(pool)
        return Snapshot(
            at=time.time(),
            version=__version__,
            origin=self._origin,
            pool=None if isinstance(pool, str) else pool,
            pool_error=pool if isinstance(pool, str) else "",
            ledger=ledger,
            ledger_error=ledger_error,
            ledger_answer_s=time.monotonic() - began,
            wants_edge=self._edge is not None,
            edge=edge,
            edge_error=edge_error,
            wants_archive=self._settings.storage.archive is not None,
            archive=stored[0],
            archive_error=stored[1],
            # In a thread, as it grows with the pool: a dead worker's slot is not to wait for it.
            media=await asyncio.to_thread(total, self._media.parts()),
            free_bytes=_free(self._settings.storage.recordings),
            certificate_until=until,
            alarms=self._alarms(),
        )

    async def _ask_ledger(self) -> Had:
        try:
            return await ask_stats(self._settings.ledger.socket, name=self._name, within_s=LEDGER_S), ""
        except LedgerError as error:
            return None, str(error)

    async def _ask_edge(self) -> tuple[EdgeStatus | None, str]:
        if self._edge is None:
            return None, ""
        try:
            async with asyncio.timeout(EDGE_S):
                return await self._edge.status(), ""
        except TimeoutError:
            return None, f"the edge did not answer within {EDGE_S:g} s"
        except (OSError, EdgeRefused) as error:
            return None, str(error)
        except (KeyError, TypeError, ValueError) as error:
            return None, f"the edge's answer makes no sense: {error!r}"

    async def _ask_disk(self) -> tuple[Had, float | None]:
        if time.monotonic() - self._slow_at >= SLOW_S:
            self._slow = await asyncio.to_thread(lambda: (_archive(self._settings), certificate_until(self._settings)))
            self._slow_at = time.monotonic()
        return self._slow


def _archive(settings: Settings) -> Had:
    try:
        return archive.status(settings), ""
    except (VaultError, OSError) as error:
        return None, str(error)


def certificate_until(settings: Settings) -> float | None:
    """When the edge's certificate runs out; None without one, or with one that cannot be read, which is said."""
    tls = settings.edge.tls
    if tls is None:
        return None
    try:
        return x509.load_pem_x509_certificate(tls.certificate.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError) as error:
        log.error("%s: %s", tls.certificate, error)
        return None


def _free(folder: Path) -> int | None:
    try:
        info = os.statvfs(folder)
    except OSError:
        return None
    return info.f_bavail * info.f_frsize


def _origin(vkey: Path) -> str:
    try:
        return KeyRing.read(vkey).first.name
    except (OSError, NoteError, LedgerError):
        return ""
