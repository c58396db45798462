"""Which rows of a step are worked on at once: never more tokens than so many of the longest have."""

import numpy as np
import pytest

from studio.engine.batches import Room, Row, micro_batches, room_of, step_rows
from studio.engine.row_store import sizes_of

BATCH = 8


def row(tokens: int, trained: int = 1) -> Row:
    return Row(np.zeros(tokens, np.int64), np.arange(tokens) >= tokens - trained)


def lengths(rows: list[list[Row]]) -> list[list[int]]:
    return [[len(row.ids) for row in some] for some in rows]


def test_that_rows_that_are_padded_are_counted() -> None:
    rows = [row(n) for n in (9, 2, 7, 4, 5)]
    assert lengths(list(micro_batches(rows, 2))) == [[2, 4], [5, 7], [9]]


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (Room(30, 99), [[2, 4, 5, 7, 9]]),
        (Room(18, 99), [[2, 4, 5, 7], [9]]),
        (Room(99, 3), [[2, 4, 5], [7, 9]]),
        (Room(1, 1), [[2, 4], [5, 7], [9]]),
    ],
    ids=["all fit", "not so many tokens", "not so many that carry loss", "what was planned always goes"],
)
def test_that_packed_rows_are_taken_by_their_tokens(room: Room, expected: list[list[int]]) -> None:
    rows = [row(n) for n in (9, 2, 7, 4, 5)]
    assert lengths(list(micro_batches(rows, 2, room))) == expected


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("count", [5, 8, 100])
def test_that_no_step_holds_more_at_once_than_its_longest_rows_would(count: int, size: int) -> None:
    rng = np.random.default_rng(0)
    rows = [row(int(n), int(rng.integers(1, n))) for n in rng.integers(2, 200, count)]
    room = room_of(*sizes_of(rows), BATCH, size, seed=3)
    steps = [[rows[i] for i in step_rows(count, BATCH, step, 3)] for step in range(max(1, count // BATCH))]
    together = [some for step in steps for some in micro_batches(step, size, room)]
    apart = [some for step in steps for some in micro_batches(step, size)]
    assert max(map(tokens_of, together)) <= max(map(tokens_of, apart))
    assert max(map(trained_of, together)) <= max(room.trained, *map(trained_of, apart))
    assert len(together) <= len(apart)


def tokens_of(rows: list[Row]) -> int:
    return sum(len(row.ids) for row in rows)


def trained_of(rows: list[Row]) -> int:
    return sum(int(row.trained[1:].sum()) for row in rows)
