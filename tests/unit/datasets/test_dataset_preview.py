"""The preview of rows, and token lengths."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from studio.core.errors import UserError
from studio.datasets.encode import Encoder
from studio.datasets.example import Segment
from studio.datasets.lengths import measure_lengths
from studio.datasets.library import DatasetLibrary
from studio.datasets.preview import preview
from studio.datasets.store import StoredDataset

MAPPING = {"prompt": "prompt", "completion": "completion"}


@pytest.fixture
def stored(library: DatasetLibrary, write: Callable[..., Path]) -> StoredDataset:
    rows = [{"prompt": "p" * (i + 1), "completion": "c"} for i in range(30)]
    return library.open(library.add(write("a.jsonl", [*rows, {"prompt": "p", "completion": None}])).name)


def encoder(model: Path, max_length: int = 20) -> Encoder:
    return Encoder(model, task="sft", format="prompt-completion", mapping=MAPPING, labels=(), max_length=max_length)


def test_that_a_preview_without_a_model_shows_the_text(stored: StoredDataset) -> None:
    rows = preview(stored, None, "prompt-completion", MAPPING, (), 1, 2)
    assert [(row.index, row.segments, row.tokens) for row in rows] == [
        (1, (Segment("pp", False), Segment(" c", True)), None),
        (2, (Segment("ppp", False), Segment(" c", True)), None),
    ]


def test_that_a_preview_with_a_model_shows_what_training_sees(stored: StoredDataset, plain_model: Path) -> None:
    short, *_, long = preview(stored, encoder(plain_model), "prompt-completion", MAPPING, (), 0, 30)
    assert short.segments == (Segment("<s>p", False), Segment(" c<|im_end|>", True))
    assert (short.tokens, short.trained, short.truncated) == (5, 3, False)
    assert long.segments[0] == Segment("<s>" + "p" * 16, False)
    assert (long.tokens, long.truncated) == (20, True)


def test_that_a_row_that_cannot_be_used_says_why_and_the_others_show(stored: StoredDataset, plain_model: Path) -> None:
    rows = preview(stored, encoder(plain_model), "prompt-completion", MAPPING, (), 29, 10)
    assert len(rows) == 2
    assert rows[0].error == ""
    assert "has no value" in rows[1].error


def test_that_a_preview_of_classes_names_the_class(library: DatasetLibrary, write: Callable[..., Path]) -> None:
    rows = [{"text": f"t {i}", "label": ("x", "y")[i % 2]} for i in range(20)]
    stored = library.open(library.add(write("c.jsonl", rows)).name)
    facts = stored.facts
    shown = preview(stored, None, facts.format, facts.mapping, facts.labels, 0, 2)
    assert [row.label for row in shown] == ["x", "y"]


def test_that_lengths_are_those_of_the_encoded_rows(stored: StoredDataset, plain_model: Path) -> None:
    facts = measure_lengths(stored, encoder(plain_model), range(30))
    assert (facts.sampled, facts.longest, facts.max_length) == (30, 20, 20)
    assert facts.trained == 3.0
    assert facts.truncated == sum(length > 16 for length in range(1, 31))
    assert facts.mean == pytest.approx(np.mean([min(length + 4, 20) for length in range(1, 31)]))
    assert (facts.p50, facts.p95) == (20, 20)


def test_that_a_sample_is_spread_over_all_rows(stored: StoredDataset, plain_model: Path) -> None:
    facts = measure_lengths(stored, encoder(plain_model, 200), np.arange(30), sample=4)
    assert (facts.sampled, facts.longest) == (4, 34)


def test_that_no_rows_cannot_be_measured(stored: StoredDataset, plain_model: Path) -> None:
    with pytest.raises(UserError, match="no rows"):
        measure_lengths(stored, encoder(plain_model), [])
