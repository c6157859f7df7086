# SPDX-License-Identifier: GPL-3.0-or-later
"""Proofs from stored hashes: for every size up to some tiles, and at the edges where tiles begin and end."""

import random

import pytest

from ivr.ledger.nodes import WIDTH, append_leaf, complete
from ivr.ledger.proofs import ProofError, Tree, verify_consistency
from ivr.ledger.tree import EMPTY_ROOT, Frontier, leaf_hash, root_from_inclusion

SIZE = WIDTH * WIDTH + 600


class Memory:
    """Stored hashes by level."""

    def __init__(self) -> None:
        self.levels: dict[int, list[bytes]] = {}
        self.asked = 0

    def hashes(self, level: int, start: int, count: int) -> list[bytes]:
        self.asked += count
        return self.levels.get(level, [])[start : start + count]


@pytest.fixture(scope="module")
def grown() -> tuple[Memory, list[bytes]]:
    """The hashes of a tree of a few more than 256² leaves, and its root at every size."""
    memory, tree, plain, roots = Memory(), Frontier.empty(), Frontier.empty(), [EMPTY_ROOT]
    for n in range(SIZE):
        leaf = leaf_hash(n.to_bytes(4, "big"))
        memory.levels.setdefault(0, []).append(leaf)
        for node in append_leaf(tree, leaf):
            level = memory.levels.setdefault(node.level, [])
            assert len(level) == node.number
            level.append(node.hash)
        plain.append(leaf)
        roots.append(plain.root())
    assert tree.hashes == plain.hashes
    return memory, roots


def sizes() -> list[int]:
    edges = [n + d for n in (WIDTH, 2 * WIDTH, 129 * WIDTH, WIDTH * WIDTH) for d in (-1, 0, 1)]
    return [*range(70), *edges, *random.Random(6962).sample(range(SIZE), 40), SIZE]


def test_as_many_nodes_as_there_are_full_subtrees(grown: tuple[Memory, list[bytes]]) -> None:
    memory, _ = grown
    assert sum(len(hashes) for level, hashes in memory.levels.items() if level) == complete(SIZE) == 258 + 1
    assert complete(WIDTH - 1) == 0


def test_roots_and_inclusion(grown: tuple[Memory, list[bytes]]) -> None:
    memory, roots = grown
    for size in sizes():
        tree = Tree(memory, size)
        assert tree.root() == roots[size]
        for index in {0, size // 3, size - 1} if size else ():
            assert root_from_inclusion(index, size, tree.leaf(index), tree.inclusion(index)) == roots[size]


def test_consistency(grown: tuple[Memory, list[bytes]]) -> None:
    memory, roots = grown
    for size in sizes():
        tree = Tree(memory, size)
        for old in {0, 1, size // 2, size - 1, size} if size else {0}:
            verify_consistency(old, roots[old], size, roots[size], tree.consistency(old))


def test_a_wrong_consistency_proof_is_refused(grown: tuple[Memory, list[bytes]]) -> None:
    memory, roots = grown
    for old, size in ((1, 2), (3, 7), (4, 7), (6, 8), (255, 256), (256, 700), (300, SIZE)):
        proof = Tree(memory, size).consistency(old)
        changed = [bytes(32) if n == at else one for at in range(len(proof)) for n, one in enumerate(proof)]
        wrong = [proof[:-1], [*proof, proof[-1]], proof[::-1] if len(set(proof)) > 1 else [], changed[: len(proof)]]
        for one in wrong:
            with pytest.raises(ProofError):
                verify_consistency(old, roots[old], size, roots[size], one)
        with pytest.raises(ProofError):
            verify_consistency(old, roots[old - 1], size, roots[size], proof)
        with pytest.raises(ProofError):
            verify_consistency(old, roots[old], size, roots[size - 1], proof)
    with pytest.raises(ProofError, match="differ"):
        verify_consistency(5, roots[5], 5, roots[6], [])
    with pytest.raises(ProofError, match="no hashes"):
        verify_consistency(0, EMPTY_ROOT, 5, roots[5], [roots[1]])
    with pytest.raises(ProofError, match="differ"):
        verify_consistency(0, roots[1], 5, roots[5], [])
    with pytest.raises(ProofError, match="does not extend"):
        verify_consistency(6, roots[6], 5, roots[5], [])


def test_a_proof_holds_for_its_sizes_alone(grown: tuple[Memory, list[bytes]]) -> None:
    """Roots and hashes are right, the sizes are not: nothing but the length of the proof tells."""
    memory, roots = grown
    proof = Tree(memory, 4).consistency(2)
    verify_consistency(2, roots[2], 4, roots[4], proof)
    with pytest.raises(ProofError, match="too short"):
        verify_consistency(2, roots[2], 8, roots[4], proof)
    proof = Tree(memory, 8).consistency(2)
    with pytest.raises(ProofError, match="too long"):
        verify_consistency(2, roots[2], 4, roots[8], proof)
    with pytest.raises(ProofError, match="too short"):
        verify_consistency(3, roots[3], 8, roots[8], [])


def test_a_proof_reads_some_tiles_not_the_log(grown: tuple[Memory, list[bytes]]) -> None:
    memory, roots = grown
    memory.asked = 0
    tree = Tree(memory, SIZE)
    assert root_from_inclusion(40_000, SIZE, tree.leaf(40_000), tree.inclusion(40_000)) == roots[SIZE]
    assert memory.asked < 5 * WIDTH


def test_what_is_not_stored_is_said(grown: tuple[Memory, list[bytes]]) -> None:
    memory, _ = grown
    with pytest.raises(ProofError, match="not all there"):
        Tree(memory, SIZE + 300).root()
    for index in (-1, 10):
        with pytest.raises(ProofError, match="not in a tree"):
            Tree(memory, 10).inclusion(index)
    with pytest.raises(ProofError, match="not a beginning"):
        Tree(memory, 10).consistency(11)
