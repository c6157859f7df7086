# SPDX-License-Identifier: GPL-3.0-or-later
"""The roots of full subtrees of 256, 256², … leaves, kept so that a proof needs few hashes however long the log is.

They are what C2SP tlog-tiles puts in its hash tiles above level 0. Derived data: every proof made with them is checked
against the signed root before it is handed out, and `ivr log verify` compares them with the events.
"""

from typing import NamedTuple

from ivr.ledger.tree import Frontier, node_hash

HEIGHT = 8
"""Tree levels that one tile spans (C2SP tlog-tiles)."""
WIDTH = 1 << HEIGHT
"""Hashes in a full tile."""


class Node(NamedTuple):
    """The root over leaves `number * 256**level` to `(number + 1) * 256**level - 1`."""

    level: int
    number: int
    hash: bytes


def append_leaf(tree: Frontier, leaf: bytes) -> list[Node]:
    """Append to the tree; gives the nodes that this leaf completes, one in 256 times."""
    if tree.size % WIDTH != WIDTH - 1:
        tree.append(leaf)
        return []
    node, size, height = leaf, tree.size, 0
    completed: list[Node] = []
    while size & 1:
        node = node_hash(tree.hashes.pop(), node)
        size >>= 1
        height += 1
        if height % HEIGHT == 0:
            completed.append(Node(height // HEIGHT, size, node))
    tree.hashes.append(node)
    tree.size += 1
    return completed


def complete(size: int) -> int:
    """How many nodes a tree of `size` leaves has, all levels together."""
    count = 0
    while size := size // WIDTH:
        count += size
    return count
