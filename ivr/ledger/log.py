# SPDX-License-Identifier: GPL-3.0-or-later
"""The log: gives events their place, signs them, grows the tree, and makes batch and checkpoint durable together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ivr.ledger.canonical import Json
from ivr.ledger.database import Database
from ivr.ledger.errors import LedgerConflict, LedgerFatal, LedgerMissing
from ivr.ledger.event import Event, EventError, Signed, jws_hash, sign
from ivr.ledger.ids import uuid7
from ivr.ledger.keeping import PersonalSettings
from ivr.ledger.keys import LedgerKey
from ivr.ledger.nodes import Node, append_leaf, complete
from ivr.ledger.note import Checkpoint, NoteError, add_signature, open_checkpoint, sign_note
from ivr.ledger.personal import Erased, Erasing, PersonalData
from ivr.ledger.protocol import Ack
from ivr.ledger.store import CheckpointRow, DisclosureRow, EventRow, PseudonymRow, Store
from ivr.ledger.tree import Frontier, leaf_hash


@dataclass(frozen=True, slots=True)
class Entry:
    """An event before it has a place: what happened, to which call, and its personal fields.

    `index` is kept as keyed hashes alone; `erases` goes when the event is written, and fills in what went.
    """

    type: str
    call: str | None
    data: Mapping[str, Json]
    personal: Mapping[str, Json] = field(default_factory=dict)
    id: str = field(default_factory=uuid7)
    index: Mapping[str, str] = field(default_factory=dict)
    erases: Erasing | None = None


def utc_now() -> str:
    """Wall clock, UTC, microseconds: the form of `time` in events. Sorts as text."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Log:
    """The only thing that signs. One thread at a time; state changes only after the store has it on disk."""

    def __init__(
        self,
        store: Store,
        key: LedgerKey,
        pseudonym_key: bytes,
        clock: Callable[[], str] = utc_now,
        personal: PersonalSettings = PersonalSettings(),  # noqa: B008 - frozen
    ) -> None:
        self._store = store
        self._key = key
        self._ring = key.ring
        self.personal = PersonalData(store, pseudonym_key, personal)
        self._clock = clock
        self._tree = Frontier.empty()
        self._prev: str | None = None
        self._time = ""
        self._checkpointed = 0
        self._handed_over = False

    @classmethod
    def create(
        cls,
        place: Database,
        key: LedgerKey,
        pseudonym_key: bytes,
        personal: PersonalSettings = PersonalSettings(),  # noqa: B008 - frozen
    ) -> "Log":
        """A new log whose first events say so. Raises FileExistsError."""
        store = Store.create(place, {"origin": key.vkey.name, "kid": key.kid})
        log = cls(store, key, pseudonym_key, personal=personal)
        log.append(
            [
                Entry("log.created", None, {"origin": key.vkey.name}),
                Entry("key.added", None, {"kid": key.kid, "vkey": str(key.vkey)}),
            ],
            checkpoint=True,
        )
        return log

    @classmethod
    def open(
        cls,
        place: Database,
        key: LedgerKey,
        pseudonym_key: bytes,
        clock: Callable[[], str] = utc_now,
        personal: PersonalSettings = PersonalSettings(),  # noqa: B008 - frozen
    ) -> "Log":
        """Continue a log. Raises LedgerMissing (absent, other key) or LedgerFatal (it is not what was signed)."""
        store = Store.open(place)
        try:
            log = cls(store, key, pseudonym_key, clock, personal)
            log._recover()
        except BaseException:
            store.close()
            raise
        return log

    @property
    def size(self) -> int:
        """Number of events."""
        return self._tree.size

    @property
    def unsealed(self) -> int:
        """Events that no checkpoint covers yet."""
        return self._tree.size - self._checkpointed

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._key.vkey.name

    def unfinished(self) -> list[tuple[EventRow, Event]]:
        """The events of calls that an unclean stop left open, each with its payload, checked."""
        return [(row, self._verified(row)) for row in self._store.unfinished()]

    def find(self, event_id: str) -> Ack | None:
        """The acknowledgement of an event that is already in the log (its first one got lost)."""
        row = self._store.by_id(event_id)
        return Ack(row.seq, row.id, row.time, row.jws) if row else None

    def append(self, entries: Sequence[Entry], *, checkpoint: bool = False) -> list[Ack]:
        """Sign and store, in one transaction; returns when it is on disk.

        Raises LedgerFatal, and with nothing written LedgerConflict (an id is taken) or EventError.
        What erases is appended by itself: nothing may go for an event that others keep from being written.
        """
        return self._commit(entries, checkpoint=checkpoint, heir=None)

    def hand_over(self, heir: LedgerKey) -> None:
        """The last that this key signs: who follows it. The checkpoint over that is signed by both.

        Raises LedgerFatal. Nothing can be appended any more until the log is opened with the new key.
        """
        added = Entry("key.added", None, {"kid": heir.kid, "vkey": str(heir.vkey)})
        self._commit([added, Entry("key.retired", None, {"kid": self._key.kid})], checkpoint=True, heir=heir)
        self._handed_over = True

    @staticmethod
    def is_signed_by(place: Database, kid: str) -> bool:
        """Whether this key is the one in force. Raises LedgerMissing, LedgerFatal."""
        store = Store.open(place)
        try:
            return store.meta().get("kid") == kid
        finally:
            store.close()

    def _commit(self, entries: Sequence[Entry], *, checkpoint: bool, heir: LedgerKey | None) -> list[Ack]:
        if self._handed_over:
            raise LedgerFatal(f"{self._store.place}: this key was retired; open the log with the one that follows it")
        tree, prev, time = self._tree.copy(), self._prev, max(self._clock(), self._time)
        nodes: list[Node] = []
        rows: list[EventRow] = []
        disclosed: list[DisclosureRow] = []
        named: list[PseudonymRow] = []
        entries, erased = self._erase(entries, time)
        for entry in entries:
            signed = self._sign(entry, tree.size, prev, time)
            row = _row(signed)
            rows.append(row)
            if entry.personal or entry.index:
                fields, names = self.personal.keep(row.seq, signed.disclosures, entry.personal, entry.index)
                disclosed += fields
                named += names
            self.personal.note(entry.type, row.seq, entry.data)
            nodes += append_leaf(tree, row.leaf)
            prev = jws_hash(signed.jws.encode())
        seal = self._checkpoint(tree, time, heir) if checkpoint and tree.size > self._checkpointed else None
        if rows or seal:
            self.personal.flush()
            meta = {"kid": heir.kid} if heir else None
            self._store.write(rows, disclosed, named, seal, nodes, meta, erased.rows, erased.pseudonyms)
        self._tree, self._prev, self._time = tree, prev, time
        if seal:
            self._checkpointed = seal.size
        self.personal.forget(erased)
        return [Ack(row.seq, row.id, row.time, row.jws) for row in rows]

    def _erase(self, entries: Sequence[Entry], time: str) -> tuple[Sequence[Entry], Erased]:
        """What dies before the event that says so is written; the entries with what the event says of it."""
        erases = next((entry.erases for entry in entries if entry.erases is not None), None)
        if erases is None:
            return entries, Erased({}, ())
        if len(entries) > 1:
            raise EventError("an event that erases is appended by itself")
        (entry,) = entries
        if self._store.by_id(entry.id) is not None:
            raise LedgerConflict(f"{self._store.place}: event {entry.id} is there already")
        erased = self.personal.erase(erases, time, entry.data)
        return [replace(entry, data={**entry.data, **erased.data})], erased

    def check(self) -> None:
        """Raises LedgerFatal when nothing could be written any more. From any thread; never waits."""
        self._store.check()

    def close(self) -> None:
        """Release the store. A last checkpoint is the caller's decision."""
        self.personal.close()
        self._store.close()

    def _sign(self, entry: Entry, seq: int, prev: str | None, time: str) -> Signed:
        event = Event(self._key.vkey.name, seq, prev, entry.id, time, entry.call, entry.type, entry.data)
        return sign(event, entry.personal, self._key.kid, self._key.sign)

    def _checkpoint(self, tree: Frontier, time: str, heir: LedgerKey | None) -> CheckpointRow:
        root = tree.root()
        note = sign_note(Checkpoint(self._key.vkey.name, tree.size, root).text(), self._key.vkey, self._key.sign)
        if heir:
            note = add_signature(note, heir.vkey, heir.sign)
        return CheckpointRow(tree.size, time, root, note, tree.to_bytes())

    def _recover(self) -> None:
        """Never extend what would not verify: the newest checkpoint, all after it, and the chain are checked."""
        meta = self._store.meta()
        if meta.get("origin") != self._key.vkey.name or meta.get("kid") != self._key.kid:
            raise LedgerMissing(
                f"{self._store.place} belongs to {meta.get('origin')} (key {meta.get('kid')}), "
                f"the key on disk is {self._key.vkey.name} ({self._key.kid}). "
                "If a rotation was interrupted, finish it with: ivr keys rotate"
            )
        sealed = self._store.newest_checkpoint()
        if sealed is None:
            raise LedgerFatal(f"{self._store.place} holds no checkpoint: it was changed, run: ivr log verify")
        self._tree = self._trusted_tree(sealed)
        self._checkpointed = sealed.size
        # One event before the checkpoint too: its hash is what the first one after it is chained to.
        for row in self._store.since(sealed.size - 1):
            event = self._verified(row)
            if row.seq >= sealed.size:
                if row.seq != self._tree.size or event.prev != self._prev:
                    raise LedgerFatal(f"{self._store.place}: event {row.seq} is not chained to the one before it")
                self._tree.append(row.leaf)
            self._prev, self._time = jws_hash(row.jws.encode()), event.time
        if self._prev is None:
            raise LedgerFatal(f"{self._store.place}: event {sealed.size - 1} is missing, run: ivr log verify")
        self._complete_nodes()

    def _complete_nodes(self) -> None:
        """Derive the subtree hashes of a log from before they were kept. Nothing else can make them fall short."""
        if self._store.nodes() == complete(self._tree.size):
            return
        tree = Frontier.empty()
        nodes = [node for leaf in self._store.leaves(0, self._tree.size) for node in append_leaf(tree, leaf)]
        if tree.root() != self._tree.root():
            raise LedgerFatal(f"{self._store.place}: the stored leaves are not those of the tree; run: ivr log verify")
        self._store.replace_nodes(nodes)

    def _trusted_tree(self, sealed: CheckpointRow) -> Frontier:
        try:
            checkpoint = open_checkpoint(sealed.note, self._key.vkey)
            tree = Frontier.from_bytes(sealed.size, sealed.frontier)
        except (NoteError, ValueError) as error:
            raise LedgerFatal(f"{self._store.place}: checkpoint {sealed.size}: {error}") from None
        if (checkpoint.size, checkpoint.root) != (sealed.size, tree.root()):
            raise LedgerFatal(f"{self._store.place}: checkpoint {sealed.size} is not of this tree")
        return tree

    def _verified(self, row: EventRow) -> Event:
        jws = row.jws.encode()
        try:
            event = self._ring.verify(jws)
        except EventError as error:
            raise LedgerFatal(f"{self._store.place}: event {row.seq}: {error}; run: ivr log verify") from None
        if event.seq != row.seq or leaf_hash(jws) != row.leaf:
            raise LedgerFatal(f"{self._store.place}: event {row.seq} is not the one that was signed there")
        return event


def _row(signed: Signed) -> EventRow:
    event = signed.event
    recording = event.data.get("recording")
    return EventRow(
        event.seq,
        event.id,
        event.call,
        recording if isinstance(recording, str) else None,
        event.type,
        event.time,
        signed.jws,
        leaf_hash(signed.jws.encode()),
    )
