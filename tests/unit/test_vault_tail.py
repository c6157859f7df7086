# SPDX-License-Identifier: GPL-3.0-or-later
"""The tail against the simplest thing that could be true: a list."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ivr.vault.tail import Tail

OPERATION = st.tuples(st.sampled_from(["append", "cut", "truncate"]), st.integers(0, 60))


@given(st.lists(OPERATION, max_size=40))
def test_it_is_a_queue_that_can_be_cut_at_both_ends(operations: list[tuple[str, int]]) -> None:
    tail, model, start, value = Tail(), list[int](), 0, 0
    for what, number in operations:
        if what == "append":
            new = list(range(value, value + number))
            value += number
            tail.append(np.array([[v, -v] for v in new], np.int16).reshape(-1, 2))
            model += new
        elif what == "cut":
            taken = tail.cut(number)
            assert taken.shape == (min(number, len(model)), 2)
            assert [int(v) for v in taken[:, 0]] == model[:number]
            start, model = start + len(taken), model[number:]
        else:
            tail.truncate(number)
            start, model = (number, []) if number <= start else (start, model[: number - start])
        assert (tail.start, tail.samples, tail.end) == (start, len(model), start + len(model))
    assert [int(v) for v in tail.cut(10_000)[:, 0]] == model
