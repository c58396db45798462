"""Lengths and answers of a dataset's rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import Cancelled
from studio.datasets.encode import Encoder
from studio.datasets.library import DatasetLibrary
from studio.datasets.statistics import MOST_ROWS, WHOLE, Statistics, measure

Write = Callable[..., Path]


def measured(library: DatasetLibrary, path: Path, model: Path, **told: Any) -> Statistics:
    facts = library.add(path)
    task = "classification" if facts.format == "classification" else "sft"
    encoder = Encoder(
        model, task=task, format=facts.format, mapping=facts.mapping, labels=facts.labels, max_length=WHOLE
    )
    return measure(library.open(facts.name), encoder, **told)


def test_that_lengths_are_those_that_train_and_uncut(library: DatasetLibrary, write: Write, plain_model: Path) -> None:
    rows = [{"prompt": "p" * count, "completion": "yes"} for count in (10, 20, 3000)]
    rows.append({"prompt": "nothing", "completion": ""})
    found = measured(library, write("a.jsonl", rows), plain_model)
    # <s>, a space before the answer, and what ends it
    assert found.tokens.tolist() == [1 + count + 4 + 1 for count in (10, 20, 3000)]
    assert found.trained.tolist() == [5, 5, 5]
    assert (found.unusable, found.rows) == (1, 4)
    assert (found.cut(25), found.cut(26), found.cut(5000)) == (2 / 3, 1 / 3, 0)


def test_that_answers_are_counted_where_they_are_few(library: DatasetLibrary, write: Write, plain_model: Path) -> None:
    few = [{"prompt": f"p{row}", "completion": "yes" if row % 4 else "no"} for row in range(40)]
    many = [{"prompt": f"p{row}", "completion": f"answer {row}"} for row in range(40)]
    classes = [{"text": f"text {row}", "label": "good" if row % 5 else "bad"} for row in range(40)]
    assert measured(library, write("few.jsonl", few), plain_model).answers == {"yes": 30, "no": 10}
    assert measured(library, write("many.jsonl", many), plain_model).answers == {}
    found = measured(library, write("classes.jsonl", classes), plain_model)
    assert found.answers == {"good": 32, "bad": 8}
    assert set(found.trained.tolist()) == {1}


def test_that_a_large_dataset_is_looked_at_evenly_and_can_be_left(
    library: DatasetLibrary, write: Write, plain_model: Path
) -> None:
    rows = [{"text": "x" * (row // 1000 + 1)} for row in range(3 * MOST_ROWS)]
    path = write("a.jsonl", rows)
    told: list[float | None] = []
    found = measured(library, path, plain_model, progress=lambda _, done: told.append(done))
    assert (found.rows, len(found.tokens)) == (MOST_ROWS, MOST_ROWS)
    assert {int(count) for count in found.tokens} == {length + 2 for length in range(1, 7)}
    assert told == sorted(told)  # type: ignore[type-var]
    with pytest.raises(Cancelled):
        measured(library, path, plain_model, cancelled=lambda: True)
