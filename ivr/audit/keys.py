# SPDX-License-Identifier: GPL-3.0-or-later
"""Which key must have signed what, from the one key that the auditor was given.

Given the first key, each event must be signed by the key in force, and each next key is announced by the one before it.
Given a later key, the walk begins with the key that the log names as its first. Nothing vouches for that one until a
checkpoint, signed by the given key, turns out to have the root of all the events that were walked.
"""

from ivr.audit.source import LogSource
from ivr.audit.tiles import TileFolder
from ivr.ledger.event import EventError, header_segment, key_id, peek
from ivr.ledger.keyring import KeyRing, Succession
from ivr.ledger.note import NoteError, VKey, open_checkpoint

Source = LogSource | TileFolder


class TrustedKeys(Succession):
    """The succession of keys of a log, and whether the trusted one stands behind all of it."""

    def __init__(self, source: Source, trusted: VKey) -> None:
        super().__init__(_first(source, trusted))
        self._trusted = trusted
        self._vouched = self.current == trusted

    @property
    def vouching(self) -> bool:
        """Whether a checkpoint of the trusted key is still awaited."""
        return not self._vouched

    def sealed(self, note: str) -> None:
        """A checkpoint was met whose root is that of all events so far."""
        if not self._vouched:
            try:
                open_checkpoint(note, self._trusted)
            except NoteError:
                return
            self._vouched = True

    def doubt(self) -> str | None:
        """At the end of the log: why the trusted key does not stand behind it, or None."""
        if self._vouched:
            return None
        kid = key_id(self._trusted.public)
        if self._trusted not in self.keys:
            return f"the given key ({kid}) is none of the keys of this log"
        return f"no checkpoint signed by the given key ({kid}) covers the events of the keys before it"


def _first(source: Source, trusted: VKey) -> VKey:
    rows = list(source.rows_from(0, 2))
    jws = [row.jws for row in rows if isinstance(row.jws, str)]
    if not jws or jws[0].encode().startswith(header_segment(key_id(trusted.public)) + b"."):
        return trusted
    try:
        claimed = VKey.parse(str(peek(jws[-1]).data.get("vkey")))
    except (EventError, NoteError):
        return trusted
    return claimed if claimed.name == trusted.name else trusted


def known_keys(source: Source, trusted: VKey) -> KeyRing:
    """The trusted key and those that it leads to by signed announcements, oldest first.

    Reads the events about keys alone: enough to check a checkpoint of today, not to verify the log.
    """
    keys = Succession(trusted)
    for row in source.rows_of("key."):
        jws = row.jws.encode() if isinstance(row.jws, str) else b""
        try:
            event = KeyRing((keys.current,)).verify(jws)
        except EventError:
            continue
        if event.log == trusted.name:
            keys.follow(event)
    return KeyRing(tuple(keys.keys))
