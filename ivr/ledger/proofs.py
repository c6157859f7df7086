# SPDX-License-Identifier: GPL-3.0-or-later
"""Merkle proofs over stored hashes: inclusion (RFC 6962 section 2.1.1) and consistency (section 2.1.2).

Making a proof reads a few hundred hashes of a log of any length. Checking one needs the proof alone.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Protocol

from ivr.ledger.nodes import HEIGHT, WIDTH
from ivr.ledger.tree import EMPTY_ROOT, node_hash


class ProofError(ValueError):
    """Hashes that are not there, or a proof that does not prove what it is for."""


class Hashes(Protocol):
    """Where stored hashes come from: level 0 are the leaf hashes, level n the roots of 256**n leaves."""

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        """`count` hashes (at most 256) from number `start` on. Raises ProofError when one is not there."""


class Tree:
    """The tree of the first `size` leaves, read from stored hashes. What is read is kept for the next proof."""

    def __init__(self, source: Hashes, size: int) -> None:
        self._source = source
        self.size = size
        # A proof touches about two tiles a level; more are only kept for whoever makes many proofs.
        self._tile = lru_cache(maxsize=256)(self._read_tile)

    def root(self) -> bytes:
        """The Merkle tree hash over all leaves."""
        return self._range(0, self.size) if self.size else EMPTY_ROOT

    def leaf(self, index: int) -> bytes:
        """One leaf hash."""
        return self._perfect(index, 0)

    def inclusion(self, index: int) -> list[bytes]:
        """Sibling hashes from the leaf to the root. Raises ProofError when there is no such leaf."""
        if not 0 <= index < self.size:
            raise ProofError(f"leaf {index} is not in a tree of {self.size}")
        siblings: list[bytes] = []
        first, end = 0, self.size
        while end - first > 1:
            middle = first + _split(end - first)
            if index < middle:
                siblings.append(self._range(middle, end))
                end = middle
            else:
                siblings.append(self._range(first, middle))
                first = middle
        return siblings[::-1]

    def consistency(self, old: int) -> list[bytes]:
        """The proof that the tree of the first `old` leaves is a beginning of this one; empty for 0 and for all."""
        if not 0 <= old <= self.size:
            raise ProofError(f"a tree of {old} leaves is not a beginning of one of {self.size}")
        if old in (0, self.size):
            return []
        return self._subproof(old, 0, self.size, whole=True)

    def _subproof(self, old: int, first: int, end: int, whole: bool) -> list[bytes]:
        if old == end:
            # The verifier has this hash already when it is the old root itself.
            return [] if whole else [self._range(first, end)]
        middle = first + _split(end - first)
        if old <= middle:
            return [*self._subproof(old, first, middle, whole), self._range(middle, end)]
        return [*self._subproof(old, middle, end, False), self._range(first, middle)]

    def _range(self, first: int, end: int) -> bytes:
        """MTH of leaves first…end-1, where `first` is a multiple of the largest power of two in the range."""
        length = end - first
        if length & (length - 1) == 0:
            return self._perfect(first, length.bit_length() - 1)
        middle = first + _split(length)
        return node_hash(self._range(first, middle), self._range(middle, end))

    def _perfect(self, first: int, height: int) -> bytes:
        level, rest = divmod(height, HEIGHT)
        start, count = first >> (level * HEIGHT), 1 << rest
        number, within = divmod(start, WIDTH)
        return _fold(self._tile(level, number)[within : within + count])

    def _read_tile(self, level: int, number: int) -> list[bytes]:
        start = number * WIDTH
        count = min(WIDTH, (self.size >> (level * HEIGHT)) - start)
        found = self._source.hashes(level, start, count)
        if len(found) != count or len(b"".join(found)) != 32 * count:
            raise ProofError(f"hashes {start} to {start + count - 1} of level {level} are not all there")
        return found


def subtree(leaves: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    return _fold(list(leaves))


def verify_consistency(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Check a consistency proof (RFC 9162 section 2.1.4.2). Raises ProofError when it does not hold."""
    if not 0 <= old <= size:
        raise ProofError(f"a tree of {size} leaves does not extend one of {old}")
    if old in (0, size):
        if proof:
            raise ProofError("a proof between a tree and itself, or the empty one, has no hashes")
        if old_root != (root if old else EMPTY_ROOT):
            raise ProofError("the two roots differ")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofError("the proof is too short")
    position, last = old - 1, size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old_node = new_node = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("the proof is too long")
        if position & 1 or position == last:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while position & 1 == 0 and position:
                position >>= 1
                last >>= 1
        else:
            new_node = node_hash(new_node, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise ProofError("the proof is too short")
    if old_node != old_root or new_node != root:
        raise ProofError("the proof does not lead from the old root to the new one")


def _split(length: int) -> int:
    """The largest power of two smaller than `length` (RFC 6962 section 2.1)."""
    return 1 << (length - 1).bit_length() - 1


def _fold(hashes: list[bytes]) -> bytes:
    # node_hash() written out: a proof folds some eight hundred pairs, and calling it would take half of the time.
    while len(hashes) > 1:
        hashes = [
            sha256(b"\x01" + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2], strict=True)
        ]
    return hashes[0]
