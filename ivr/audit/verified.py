# SPDX-License-Identifier: GPL-3.0-or-later
"""The events of a log, each handed on only when its signature, place and chain hold: what replay may believe."""

from collections.abc import Callable, Iterator

from ivr.audit.keys import TrustedKeys, known_keys
from ivr.audit.source import EventRow, LogSource
from ivr.ledger.event import Event, EventError, jws_hash, verify
from ivr.ledger.note import Checkpoint, VKey, note_text
from ivr.ledger.tree import Frontier, leaf_hash

PROGRESS_EVERY = 1000


class Unverified(Exception):
    """An event is not what was signed, or not where it was signed for. `ivr log verify` says all that is wrong."""

    def __init__(self, row: EventRow, why: str) -> None:
        super().__init__(f"event {row.seq}: {why}; replay believes nothing after that, run: ivr log verify")
        self.seq = row.seq


def verified_events(
    source: LogSource, vkey: VKey, on_progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Iterator[Event]:
    """All events in order. Raises Unverified at the first that does not hold; those before it were given."""
    keys, tree = TrustedKeys(source, vkey), Frontier.empty()
    checkpoints = {row.size: row for row in source.checkpoints()} if keys.vouching else {}
    if keys.vouching and vkey not in known_keys(source, keys.current).keys:
        # Nothing of such a log is handed on: it would be doubted at its end only.
        raise Unverified(next(source.rows()), str(keys.doubt()))
    prev: str | None = None
    done = 0
    for row in source.rows():
        jws = row.jws.encode() if isinstance(row.jws, str) else b""
        try:
            event = verify(jws, keys.header, keys.current.public)
        except EventError as error:
            raise Unverified(row, str(error)) from None
        if event.log != vkey.name:
            raise Unverified(row, f"it is an event of the log {event.log!r}")
        if event.seq != row.seq or event.seq != done:
            raise Unverified(row, f"it was signed as event {event.seq} and stands at {done}")
        if event.prev != prev:
            raise Unverified(row, "it is not chained to the event before it")
        wrong = keys.follow(event)
        if wrong is not None:
            raise Unverified(row, wrong)
        prev = jws_hash(jws)
        done += 1
        if checkpoints:
            tree.append(leaf_hash(jws))
            sealed = checkpoints.get(done)
            if sealed is not None and Checkpoint.parse(note_text(sealed.note)).root == tree.root():
                keys.sealed(sealed.note)
        if done % PROGRESS_EVERY == 0:
            on_progress(done, source.events)
        yield event
    doubt = keys.doubt()
    if doubt is not None:
        raise Unverified(row, doubt)
    on_progress(done, source.events)
