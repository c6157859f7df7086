# SPDX-License-Identifier: GPL-3.0-or-later
"""The Merkle tree against the vectors of certificate transparency and the C2SP example."""

import base64
from pathlib import Path

import pytest

from ivr.ledger.note import VKey, open_checkpoint
from ivr.ledger.tree import EMPTY_ROOT, Frontier, leaf_hash, node_hash, root_from_inclusion, root_of

VECTOR = (Path(__file__).parents[1] / "data" / "tlog_vector.txt").read_text("utf-8")

# The eight leaves and roots of the reference tests of RFC 6962 implementations.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_roots_of_certificate_transparency() -> None:
    tree = Frontier.empty()
    assert tree.root() == EMPTY_ROOT
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf_hash(leaf))
        assert tree.root().hex() == root


def test_the_compact_tree_is_the_recursive_definition() -> None:
    def mth(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return leaves[0]
        split = 1 << (len(leaves) - 1).bit_length() - 1
        return node_hash(mth(leaves[:split]), mth(leaves[split:]))

    leaves = [leaf_hash(str(n).encode()) for n in range(70)]
    for size in range(1, len(leaves) + 1):
        assert root_of(leaves[:size]) == mth(leaves[:size])


def test_a_stored_frontier_goes_on_where_it_was() -> None:
    leaves = [leaf_hash(str(n).encode()) for n in range(40)]
    for size in range(40):
        half = Frontier.empty()
        for leaf in leaves[:size]:
            half.append(leaf)
        again = Frontier.from_bytes(size, half.to_bytes())
        for leaf in leaves[size:]:
            again.append(leaf)
        assert again.root() == root_of(leaves)


def test_a_frontier_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="subtrees"):
        Frontier.from_bytes(3, b"\x00" * 32)


def test_a_copy_is_independent() -> None:
    tree = Frontier.empty()
    tree.append(leaf_hash(b"a"))
    tree.copy().append(leaf_hash(b"b"))
    assert (tree.size, tree.root()) == (1, leaf_hash(b"a"))


def test_the_worked_example() -> None:
    lines = VECTOR.splitlines()
    vkey = VKey.parse(next(line for line in lines if line.startswith("vkey ")).removeprefix("vkey "))
    proof_at = lines.index("c2sp.org/tlog-proof@v1")
    index = int(lines[proof_at + 1].removeprefix("index "))
    blank = lines.index("", proof_at)
    proof = [base64.b64decode(line) for line in lines[proof_at + 2 : blank]]
    checkpoint = open_checkpoint("\n".join(lines[blank + 1 :]) + "\n", vkey)
    leaves = [leaf_hash(f"event {n}".encode()) for n in range(7)]
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (vkey.name, 7, root_of(leaves))
    assert root_from_inclusion(index, 7, leaves[index], proof) == checkpoint.root
    assert root_from_inclusion(index, 7, leaves[4], proof) != checkpoint.root
    for wrong in (proof[:-1], [*proof, proof[0]]):
        with pytest.raises(ValueError, match="too"):
            root_from_inclusion(index, 7, leaves[index], wrong)
    with pytest.raises(ValueError, match="not in"):
        root_from_inclusion(7, 7, leaves[0], proof)
