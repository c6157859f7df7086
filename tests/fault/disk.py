# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that forgets: what was synced is there after a power cut, of the rest any part may be.

Stricter than ext4: syncing a file does not make its name durable, names of one folder may be lost in any order, and of
a write any of its 512-byte sectors.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fault.trace import Create, Operation, Remove, Rename, Sync, Truncate, Write

SECTOR = 512


@dataclass(slots=True)
class Pending:
    """A change that no sync covers yet; `number` is its place in the history. `data` None: truncation to `offset`."""

    number: int
    offset: int
    data: bytes | None

    def sectors(self) -> Iterator[tuple[int, bytes]]:
        """The parts that reach the disk each on their own."""
        data = self.data or b""
        at = 0
        while at < len(data):
            end = min(len(data), at + SECTOR - (self.offset + at) % SECTOR)
            yield self.offset + at, data[at:end]
            at = end


@dataclass(slots=True)
class File:
    """A file: what is on the disk for certain, and what may be."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Pending] = field(default_factory=list)


@dataclass(slots=True)
class NameChange:
    """`name` now means `node` (None: nothing), and so does no longer `gone`."""

    number: int
    name: str | None
    node: "Node | None"
    gone: str | None = None


@dataclass(slots=True)
class Folder:
    """A folder: names on the disk for certain, names as the running program sees them, and the changes between."""

    durable: dict[str, "Node"] = field(default_factory=dict)
    now: dict[str, "Node"] = field(default_factory=dict)
    pending: list[NameChange] = field(default_factory=list)


Node = File | Folder


@dataclass(frozen=True, slots=True)
class Loss:
    """One way in which power may go: which changes of names stay, and which sectors of which change of data."""

    name: str
    names: Callable[[int], bool]
    data: Callable[[int, int], bool]


class Disk:
    """Starts as what is in `root` now, all of it durable. Feed it the history with `apply`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = _load(root)
        self.count = 0

    @property
    def newest(self) -> int:
        """The number of the last change that is not durable; 0 when everything is."""
        return max((change.number for node in _all(self._top) for change in node.pending), default=0)

    def apply(self, operation: Operation) -> None:
        """One more thing happened. What is outside of the root, and SQLite's index in shared memory, does not count."""
        path = getattr(operation, "path", None)
        if path is None or not path.is_relative_to(self._root) or path.name.endswith("-shm"):
            return
        self.count += 1
        match operation:
            case Write(offset=offset, data=data):
                self._file(path).pending.append(Pending(self.count, offset, data))
            case Truncate(length=length):
                self._file(path).pending.append(Pending(self.count, length, None))
            case Create(folder=folder):
                parent = self._folder(path.parent)
                if path.name not in parent.now:
                    self._name(parent, path.name, Folder() if folder else File())
            case Remove():
                parent = self._folder(path.parent)
                if parent.now.pop(path.name, None) is None:
                    return  # a socket: its bind is no file operation, and it means nothing after a restart
                parent.pending.append(NameChange(self.count, None, None, path.name))
            case Rename(to=to):
                self._rename(path, to)
            case Sync():
                self._sync(path)

    def _name(self, parent: Folder, name: str, node: Node, gone: str | None = None) -> None:
        parent.now[name] = node
        parent.pending.append(NameChange(self.count, name, node, gone))

    def _rename(self, path: Path, to: Path) -> None:
        if path.parent != to.parent:
            raise NotImplementedError("a rename from one folder to another")
        parent = self._folder(path.parent)
        self._name(parent, to.name, parent.now.pop(path.name), path.name)

    def _sync(self, path: Path) -> None:
        node = self._node(path)
        if isinstance(node, File):
            node.durable = _content(node, lambda _number, _sector: True)
        else:
            node.durable = dict(node.now)
        node.pending.clear()

    def image(self, target: Path, loss: Loss) -> str:
        """Write into `target` what is there after the power was lost so; a hash of it all."""
        digest = hashlib.sha256()
        _write(self._top, target, loss, digest.update)
        return digest.hexdigest()

    def _node(self, path: Path) -> Node:
        node: Node = self._top
        for part in path.relative_to(self._root).parts:
            if not isinstance(node, Folder):
                raise NotADirectoryError(path)
            node = node.now[part]
        return node

    def _folder(self, path: Path) -> Folder:
        node = self._node(path)
        if not isinstance(node, Folder):
            raise NotADirectoryError(path)
        return node

    def _file(self, path: Path) -> File:
        node = self._node(path)
        if not isinstance(node, File):
            raise IsADirectoryError(path)
        return node


def _load(path: Path) -> Node:
    if not path.is_dir():
        return File(bytearray(path.read_bytes()))
    names = {child.name: _load(child) for child in path.iterdir() if not child.is_socket()}
    return Folder(dict(names), dict(names))


def _all(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, Folder):
        seen = {id(child): child for child in [*node.now.values(), *node.durable.values()]}
        for child in seen.values():
            yield from _all(child)


def _content(file: File, keep: Callable[[int, int], bool]) -> bytearray:
    content = bytearray(file.durable)
    for change in file.pending:
        if change.data is None:
            if keep(change.number, 0):
                content[:] = content[: change.offset].ljust(change.offset, b"\0")
            continue
        for sector, (offset, data) in enumerate(change.sectors()):
            if keep(change.number, sector):
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(data)] = data
    return content


def _write(node: Node, target: Path, loss: Loss, note: Callable[[bytes], None]) -> None:
    if isinstance(node, File):
        content = _content(node, loss.data)
        note(b"%d:" % len(content) + content)
        target.touch(0o600)
        target.write_bytes(content)
        return
    names = dict(node.durable)
    for change in node.pending:
        if loss.names(change.number):
            if change.gone is not None:
                names.pop(change.gone, None)
            if change.name is not None and change.node is not None:
                names[change.name] = change.node
    target.mkdir(mode=0o700)
    for name, child in sorted(names.items()):
        note(b"/" + name.encode())
        _write(child, target / name, loss, note)
    note(b".")
