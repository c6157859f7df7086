# SPDX-License-Identifier: GPL-3.0-or-later
"""Has the newest checkpoint stamped and cosigned by those that the settings name. Off unless they name somebody.

Runs apart from the ledger, reads its database and writes files beside it: the process that holds the signing key never
talks to a network.
"""

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ivr.audit.anchors import cosigned_notes, note_file, stamp_file
from ivr.audit.source import CheckpointRow, LogSource
from ivr.ledger.cosignature import CosignerKey, cosigners
from ivr.ledger.database import Database
from ivr.ledger.errors import LedgerMissing
from ivr.ledger.keys import replace_file
from ivr.ledger.proofs import ProofError, Tree
from ivr.ledger.timestamp import StampError, load_roots, stamp
from ivr.ledger.web import Unreachable
from ivr.ledger.witness import WitnessRefused, cosigned_by
from ivr.node.settings import Anchors

log = logging.getLogger(__name__)

MODE = 0o640


@dataclass(frozen=True, slots=True)
class Anchored:
    """One authority or witness, and what came of asking it. `failed` is None when it is done."""

    who: str
    size: int
    failed: str | None = None
    already: bool = False


def anchor_newest(database: Database, folder: Path, anchors: Anchors) -> list[Anchored]:
    """Ask everybody who has not answered for the newest checkpoint yet. Raises SourceError, LedgerMissing, OSError."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    with LogSource(database) as source:
        newest = source.newest_checkpoint()
        if newest is None:
            raise LedgerMissing(f"{database} holds no checkpoint: it was changed, run: ivr log verify")
        place = folder / note_file(newest.size)
        if not place.exists():
            replace_file(place, newest.note.encode(), MODE)
        done = [_stamped(folder, newest, one.url, one.roots) for one in anchors.timestamps]
        # The proof needs the open log; a witness that is slow keeps nobody waiting but this process.
        tree = Tree(source, newest.size)
        for witness in anchors.witnesses:
            done.append(_witnessed(folder, newest, tree, witness.url, CosignerKey.parse(witness.key)))
    return done


def _stamped(folder: Path, newest: CheckpointRow, url: str, roots: Path) -> Anchored:
    place = folder / stamp_file(newest.size, urlsplit(url).netloc)

    def ask() -> None:
        replace_file(place, stamp(url, newest.note, load_roots(roots)).response, MODE)

    return _asked(url, newest.size, place.exists(), ask)


def _witnessed(folder: Path, newest: CheckpointRow, tree: Tree, url: str, key: CosignerKey) -> Anchored:
    place = folder / note_file(newest.size)
    note = place.read_text("utf-8")
    seen = max((size for size, kept in cosigned_notes(folder) if cosigners(kept, [key])), default=0)

    def ask() -> None:
        def proof(old: int) -> list[str]:
            return [base64.b64encode(one).decode() for one in tree.consistency(old)]

        found = cosigned_by(url, key, newest.note, newest.size, proof, seen)
        replace_file(place, (note + found.line).encode(), MODE)

    return _asked(key.name, newest.size, seen == newest.size, ask)


def _asked(who: str, size: int, already: bool, ask: Callable[[], None]) -> Anchored:
    if already:
        return Anchored(who, size, already=True)
    try:
        ask()
    except (StampError, WitnessRefused, Unreachable, ProofError) as error:
        log.error("checkpoint %d is not anchored: %s", size, error)
        return Anchored(who, size, str(error))
    return Anchored(who, size)
