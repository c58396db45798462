"""Training and held-out rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import UserError
from studio.datasets.split import split_rows


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 3000), st.integers(0, 2**40), st.data())
def test_that_every_row_is_on_one_side_exactly_once(rows: int, seed: int, data: st.DataObject) -> None:
    eval_rows = data.draw(st.integers(0, rows - 1))
    train, held_out = split_rows(rows, eval_rows, seed, None)
    assert len(held_out) == eval_rows
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(rows))


def test_that_the_split_never_changes() -> None:
    train, held_out = split_rows(10, 3, 0, None)
    assert held_out.tolist() == [5, 7, 1]
    assert train.tolist() == [4, 2, 8, 0, 6, 3, 9]


def test_that_another_seed_gives_another_split() -> None:
    assert split_rows(1000, 100, 0, None)[1].tolist() != split_rows(1000, 100, 1, None)[1].tolist()


def test_that_fewer_rows_are_measured_on_the_same_held_out_rows() -> None:
    train, held_out = split_rows(1000, 100, 3, None)
    fewer, same = split_rows(1000, 100, 3, 150)
    assert same.tolist() == held_out.tolist()
    assert fewer.tolist() == train[:50].tolist()
    assert split_rows(1000, 100, 3, 5000)[0].tolist() == train.tolist()


def test_that_the_order_is_shuffled_evenly() -> None:
    train, _ = split_rows(20_000, 0, 1, None)
    assert abs(float(np.corrcoef(train, np.arange(20_000))[0, 1])) < 0.03


@pytest.mark.parametrize(("rows", "eval_rows", "max_rows"), [(10, 10, None), (10, 200, None), (1, 1, None), (10, 5, 5)])
def test_that_a_split_that_leaves_nothing_to_train_on_is_refused(
    rows: int, eval_rows: int, max_rows: int | None
) -> None:
    with pytest.raises(UserError) as caught:
        split_rows(rows, eval_rows, 0, max_rows)
    assert caught.value.where == "data.split.eval"
