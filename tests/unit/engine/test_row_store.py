"""Rows are encoded once, whatever the run, and never taken from what other settings made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.errors import MachineError, UserError
from studio.core.paths import home
from studio.datasets.encode import Encoded, Encoder
from studio.datasets.library import DatasetLibrary
from studio.datasets.store import StoredDataset
from studio.engine import row_store
from studio.engine.row_store import encode_rows, sizes_of
from tests.helpers import tiny

COLUMNS = {"prompt": "{question} ?", "completion": "{answer}"}


@pytest.fixture
def dataset(tmp_path: Path) -> StoredDataset:
    return _stored(tiny.make_questions(tmp_path / "questions.jsonl", rows=40), tmp_path)


@pytest.fixture
def encoder(tmp_path: Path) -> Encoder:
    return _encoder(tmp_path)


def _stored(file: Path, folder: Path) -> StoredDataset:
    facts = DatasetLibrary(folder / "library").add(file, mapping=COLUMNS, format="prompt-completion")
    return StoredDataset(Path(facts.path))


def _encoder(folder: Path, *, max_length: int = 64, answer: str = "{answer}", date: str = "") -> Encoder:
    model = folder / "model"
    if not model.exists():
        tiny.make_llama(model)
    return Encoder(
        model, task="sft", format="prompt-completion", mapping={**COLUMNS, "completion": answer}, labels=(),
        max_length=max_length, date=date,
    )  # fmt: skip


def _refuse(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(self: Encoder, row: Any) -> None:
        raise AssertionError("a row is encoded again")

    monkeypatch.setattr(type(encoder), "encode", encode)


def _kept() -> list[Path]:
    return sorted((home().cache / "rows").iterdir())


def test_that_rows_are_those_that_the_encoder_makes_in_the_order_asked_for(
    dataset: StoredDataset, encoder: Encoder
) -> None:
    train, held_out = np.array([7, 3, 11]), np.array([5, 0])
    found = encode_rows(dataset, encoder, train, held_out)
    for indices, rows in zip((train, held_out), found, strict=True):
        assert len(rows) == len(indices)
        for index, row in zip(indices, rows, strict=True):
            expected = encoder.encode(dataset.row(int(index)))
            assert row.ids.tolist() == expected.ids
            assert row.trained.tolist() == expected.trained
            assert (row.label, row.type_ids) == (-1, None)
            assert row.ids.dtype == np.int64
    assert [row.ids.tolist() for row in found[0][1:]] == [row.ids.tolist() for row in found[0]][1:]
    assert found[0][-1].ids.tolist() == encoder.encode(dataset.row(11)).ids


def test_that_rows_are_encoded_once(
    dataset: StoredDataset, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = np.arange(len(dataset))
    before = encode_rows(dataset, encoder, every)[0]
    again = _encoder(tmp_path, date="2001-01-01")  # no template of this model tells the date
    _refuse(encoder, monkeypatch)
    after, held_out = encode_rows(dataset, again, every[::-1][:-3], every[:3])
    assert [row.ids.tolist() for row in after] == [row.ids.tolist() for row in before][:2:-1]
    assert [row.ids.tolist() for row in held_out] == [row.ids.tolist() for row in before][:3]
    assert len(_kept()) == 1


@pytest.mark.parametrize("change", ["settings", "mapping", "tokenizer", "data", "rows"])
def test_that_other_settings_data_or_tokenizers_are_encoded_anew(
    dataset: StoredDataset, encoder: Encoder, tmp_path: Path, change: str
) -> None:
    every = np.arange(len(dataset))
    encode_rows(dataset, encoder, every)
    if change == "settings":
        encoder = _encoder(tmp_path, max_length=5)
    elif change == "mapping":
        encoder = _encoder(tmp_path, answer="{answer} indeed")
    elif change == "tokenizer":
        path = tmp_path / "model" / "tokenizer.json"
        path.write_text(path.read_text().replace('"normalizer": null', '"normalizer": {"type": "Lowercase"}'))
        encoder = _encoder(tmp_path)
    elif change == "data":
        dataset = _stored(tiny.make_questions(tmp_path / "others.jsonl", rows=39), tmp_path)
        every = np.arange(len(dataset))
    else:
        every = every[:20]
    rows = encode_rows(dataset, encoder, every)[0]
    assert len(_kept()) == 2
    assert rows[4].ids.tolist() == encoder.encode(dataset.row(4)).ids


@pytest.mark.parametrize("name", ["ids", "ends", "labels"])
def test_that_damaged_files_are_made_again(dataset: StoredDataset, encoder: Encoder, name: str) -> None:
    every = np.arange(len(dataset))
    before = [row.ids.tolist() for row in encode_rows(dataset, encoder, every)[0]]
    path = _kept()[0] / name
    path.write_bytes(path.read_bytes()[:-8])
    assert [row.ids.tolist() for row in encode_rows(dataset, encoder, every)[0]] == before
    path.unlink()
    assert [row.ids.tolist() for row in encode_rows(dataset, encoder, every)[0]] == before


def test_that_a_row_that_does_not_encode_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "gap.jsonl"
    file.write_text('{"question": "a", "answer": "b"}\n{"question": "a", "answer": null}\n')
    dataset = _stored(file, tmp_path)
    with pytest.raises(UserError) as caught:
        encode_rows(dataset, _encoder(tmp_path), np.arange(2))
    assert caught.value.where == "data, row 2"
    assert _kept() == []


class _Given:
    """In an encoder's place: gives the rows it was made with."""

    fingerprint = "given"

    def __init__(self, *rows: Encoded) -> None:
        self._rows = iter(rows)

    def encode(self, row: Any) -> Encoded:
        return next(self._rows)


def test_that_rows_without_a_token_to_train_on_are_left_out(dataset: StoredDataset) -> None:
    encoder: Any = _Given(Encoded([1], [True]), Encoded([2, 3], [True, False]), Encoded([4, 5], [False, True]))
    assert [row.ids.tolist() for row in encode_rows(dataset, encoder, np.arange(3))[0]] == [[4, 5]]
    encoder = _Given(Encoded([1], [True]))
    with pytest.raises(UserError, match="no row has a token to train on"):
        encode_rows(dataset, encoder, np.arange(1))


def test_that_sizes_are_those_of_the_rows(dataset: StoredDataset) -> None:
    encoder: Any = _Given(
        Encoded([1, 2, 3], [True, False, True]), Encoded([], []), Encoded([4, 5], [False, True]), Encoded([], [])
    )
    rows = encode_rows(dataset, encoder, np.array([2, 0, 1, 3]))[0]
    tokens, trained = sizes_of(rows)
    assert (tokens.tolist(), trained.tolist()) == ([2, 3], [1, 1])
    assert [each.tolist() for each in sizes_of([rows[0], rows[1]])] == [[2, 3], [1, 1]]


def test_that_classes_and_the_two_texts_of_a_pair_are_kept(dataset: StoredDataset) -> None:
    encoder: Any = _Given(Encoded([1, 2], [False, False], 0, type_ids=[0, 1]), Encoded([3], [False], 2, type_ids=[1]))
    rows = encode_rows(dataset, encoder, np.array([1, 0]))[0]
    assert [row.label for row in rows] == [2, 0]
    assert [None if row.type_ids is None else row.type_ids.tolist() for row in rows] == [[1], [0, 1]]


def test_that_a_disk_that_refuses_says_so(dataset: StoredDataset, encoder: Encoder) -> None:
    home().cache.mkdir(parents=True)
    (home().cache / "rows").write_text("in the way")
    with pytest.raises(MachineError, match="cannot be kept") as caught:
        encode_rows(dataset, encoder, np.arange(3))
    assert caught.value.hint


def test_that_the_longest_unused_make_room(
    dataset: StoredDataset, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_rows(dataset, encoder, np.arange(10))
    first = _kept()[0]
    encode_rows(dataset, encoder, np.arange(20))
    second = next(path for path in _kept() if path != first)
    encode_rows(dataset, encoder, np.arange(10))  # used again
    size = sum(file.stat().st_size for path in (first, second) for file in path.iterdir())
    monkeypatch.setattr(row_store, "MOST_BYTES", size)
    encode_rows(dataset, encoder, np.arange(2))
    assert first in _kept()
    assert second not in _kept()
    assert len(_kept()) == 2
