"""Folders saved by HF datasets, as its ``save_to_disk`` writes them."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from studio.core.errors import UserError
from studio.datasets.library import DatasetLibrary
from tests.helpers.corpus import arrow_bytes

INFO = {"features": {"text": {"dtype": "string", "_type": "Value"}}}


def save(folder: Path, texts: list[str], shards: int = 1, **state: Any) -> Path:
    """A saved dataset of some shards, with a cache of earlier work beside them."""
    folder.mkdir(parents=True)
    names = [f"data-{shard:05d}-of-{shards:05d}.arrow" for shard in range(shards)]
    for shard, name in enumerate(names):
        (folder / name).write_bytes(arrow_bytes(pa.table({"text": texts[shard::shards]}), stream=True))
    (folder / "cache-0123456789abcdef.arrow").write_bytes(arrow_bytes(pa.table({"text": ["stale"]}), stream=True))
    files = [{"filename": name} for name in names]
    noted = {"_data_files": files, "_fingerprint": "0", "_format_columns": None, "_split": None, **state}
    (folder / "state.json").write_text(json.dumps(noted))
    (folder / "dataset_info.json").write_text(json.dumps(INFO))
    return folder


def save_splits(folder: Path, *splits: str) -> Path:
    for split in splits:
        save(folder / split, [split, "more"])
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": [*splits, "never written"]}))
    return folder


def texts(library: DatasetLibrary, path: Path) -> list[str]:
    return [row["text"] for row in library.open(library.add(path).name)]


def test_that_a_saved_dataset_is_read_without_the_caches_beside_it(library: DatasetLibrary, tmp_path: Path) -> None:
    assert texts(library, save(tmp_path / "one", ["a", "b", "c"], shards=2)) == ["a", "c", "b"]


def test_that_several_splits_are_not_mixed(library: DatasetLibrary, tmp_path: Path) -> None:
    folder = save_splits(tmp_path / "saved", "train", "test")
    with pytest.raises(UserError, match="2 splits: 'train', 'test'") as caught:
        library.add(folder)
    assert caught.value.where == str(folder)
    assert caught.value.hint.endswith(f"data add {folder}/train")
    assert not library.root.exists()
    assert texts(library, folder / "test") == ["test", "more"]


def test_that_splits_further_down_are_found_too(library: DatasetLibrary, tmp_path: Path) -> None:
    folder = save_splits(tmp_path / "outer/saved", "train", "test").parent
    with pytest.raises(UserError, match="2 splits") as caught:
        library.add(folder)
    assert caught.value.hint.endswith(f"data add {folder}/saved/train")


def test_that_a_single_split_is_read(library: DatasetLibrary, tmp_path: Path) -> None:
    assert texts(library, save_splits(tmp_path / "saved", "train")) == ["train", "more"]


def test_that_an_archive_of_a_saved_dataset_is_read_by_the_same_rules(library: DatasetLibrary, tmp_path: Path) -> None:
    folder = save_splits(tmp_path / "saved", "train", "test")
    for name, top in (("one.zip", folder / "train"), ("both.zip", folder)):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file in top.rglob("*.*"):
                archive.write(file, file.relative_to(folder.parent))
    assert texts(library, tmp_path / "one.zip") == ["train", "more"]
    with pytest.raises(UserError, match="archive holds 2 splits") as caught:
        library.add(tmp_path / "both.zip")
    assert "unpack it and add one of them" in caught.value.hint


def test_that_a_missing_shard_and_a_selection_of_rows_are_told(library: DatasetLibrary, tmp_path: Path) -> None:
    folder = save(tmp_path / "one", ["a", "b"], shards=2)
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(UserError, match=r"'data-00001-of-00002\.arrow' is missing"):
        library.add(folder)
    with pytest.raises(UserError, match="selection of rows"):
        library.add(save(tmp_path / "two", ["a"], _indices_data_files=[{"filename": "indices.arrow"}]))
    with pytest.raises(UserError, match="damaged"):
        library.add(save(tmp_path / "three", ["a"], _data_files=[3]))


@pytest.mark.parametrize("note", ["", "{", "[" * 9000, "\xff"])
@pytest.mark.parametrize("name", ["state.json", "dataset_dict.json"])
def test_that_a_damaged_note_is_told(library: DatasetLibrary, tmp_path: Path, name: str, note: str) -> None:
    folder = save(tmp_path / "one", ["a"])
    (folder / name).write_text(note)
    with pytest.raises(UserError, match="damaged") as caught:
        library.add(folder)
    assert caught.value.where.endswith(name)


@pytest.mark.parametrize("note", ["3", "[]", '{"_state": 1}', '{"splits": "train"}'])
def test_that_a_note_of_something_else_is_no_data_and_does_no_harm(
    library: DatasetLibrary, tmp_path: Path, note: str
) -> None:
    folder = save(tmp_path / "one", ["a"])
    (folder / "state.json").write_text(note)
    (folder / "dataset_dict.json").write_text(note)
    assert texts(library, folder) == ["stale", "a"]
