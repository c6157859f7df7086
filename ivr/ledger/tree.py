# SPDX-License-Identifier: GPL-3.0-or-later
"""RFC 6962 section 2.1 Merkle tree hashing, kept as a compact range: appending is O(1) hashes on average."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """The roots of the perfect subtrees that make up a tree of `size` leaves, largest first."""

    size: int
    hashes: list[bytes]

    @classmethod
    def empty(cls) -> "Frontier":
        """The tree without leaves."""
        return cls(0, [])

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash. Each trailing one bit of the size is a perfect subtree that the new leaf completes."""
        hashes = self.hashes
        size = self.size
        while size & 1:
            leaf = sha256(b"\x01" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The Merkle tree hash over all leaves so far."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root

    def copy(self) -> "Frontier":
        """An independent copy, so that a failed transaction leaves the original as it was."""
        return Frontier(self.size, list(self.hashes))

    def to_bytes(self) -> bytes:
        """The hashes, concatenated; their number follows from the size."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, raw: bytes) -> "Frontier":
        """The inverse of to_bytes(). Raises ValueError when the length does not fit the size."""
        if size < 0 or len(raw) != 32 * size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} subtrees, not {len(raw)} bytes of them")
        return cls(size, [raw[i : i + 32] for i in range(0, len(raw), 32)])


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    tree = Frontier.empty()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof (RFC 9162 section 2.1.3.2) leads to. Raises ValueError for a wrong length."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    position, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ValueError("the proof is too long")
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while position & 1 == 0 and position:
                position >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise ValueError("the proof is too short")
    return node
