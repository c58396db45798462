"""Weight headers: read without weights, and every damage named with its file."""

import contextlib
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import UserError
from studio.models.header import INDEX, SINGLE, TensorInfo, hash_weights, read_file_header, read_header
from tests.helpers.weights import llama_shapes, write_llama, write_safetensors


def header_file(file: Path, header: bytes, data: bytes = b"") -> Path:
    file.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return file


def sharded(folder: Path) -> Path:
    folder.mkdir()
    shapes = llama_shapes()
    names = list(shapes)
    parts = {"model-00001-of-00002.safetensors": names[:7], "model-00002-of-00002.safetensors": names[7:]}
    for file, held in parts.items():
        write_safetensors(folder / file, {name: shapes[name] for name in held})
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (folder / INDEX).write_text(json.dumps(index))
    return folder


def test_that_every_tensor_has_its_dtype_shape_size_and_file(tmp_path: Path) -> None:
    header = read_header(write_llama(tmp_path / "m"))
    assert header["model.norm.weight"] == TensorInfo("bfloat16", (32,), 64, SINGLE)
    assert {name: info.shape for name, info in header.items()} == llama_shapes()


def test_that_shards_are_read_through_their_index(tmp_path: Path) -> None:
    header = read_header(sharded(tmp_path / "m"))
    assert {name: info.shape for name, info in header.items()} == llama_shapes()
    assert len({info.file for info in header.values()}) == 2


def test_that_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m")
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="model-00002-of-00002"):
        read_header(folder)


def test_that_an_index_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(UserError, match="outside the folder"):
        read_header(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}'])
def test_that_a_damaged_index_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(UserError, match="index is damaged"):
        read_header(tmp_path)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt", "weights.pth", "last.ckpt", "model.pkl"])
def test_that_pickles_are_refused_with_the_reason(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(UserError, match="can run code") as caught:
        read_header(tmp_path)
    assert file in caught.value.message
    assert "safetensors" in caught.value.hint


def test_that_a_pickle_beside_safetensors_does_not_matter(tmp_path: Path) -> None:
    folder = write_llama(tmp_path / "m")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert read_header(folder)


@pytest.mark.parametrize("cut", [1, 40, 5000])
def test_that_a_cut_file_says_how_much_is_there(tmp_path: Path, cut: int) -> None:
    file = write_llama(tmp_path / "m") / SINGLE
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(UserError, match="cut short") as caught:
        read_header(file.parent)
    assert caught.value.where == str(file)


def test_that_a_file_cut_inside_its_header_is_refused(tmp_path: Path) -> None:
    file = write_llama(tmp_path / "m") / SINGLE
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="ends inside its header"):
        read_header(file.parent)


def test_that_a_longer_file_is_refused(tmp_path: Path) -> None:
    file = write_llama(tmp_path / "m") / SINGLE
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(UserError, match="4 bytes longer"):
        read_header(file.parent)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"not json", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"a": 3}', "entry of 'a' is damaged"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0]}}', "entry of 'a' is damaged"),
        (b'{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}', "do not agree"),
        (b'{"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}', "do not agree"),
    ],
)
def test_that_a_damaged_header_is_named(tmp_path: Path, header: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_file_header(header_file(tmp_path / SINGLE, header, b"12345678"))


def test_that_a_giant_header_is_not_read(tmp_path: Path) -> None:
    (tmp_path / SINGLE).write_bytes(struct.pack("<Q", 101 * 1024**2) + b"{}")
    with pytest.raises(UserError, match="100 MB"):
        read_header(tmp_path)


NUMBERS = st.one_of(st.integers(-3, 40), st.floats(), st.text(max_size=2), st.none())
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "NEW", 3]),
        "shape": st.one_of(st.lists(NUMBERS, max_size=3), NUMBERS),
        "data_offsets": st.one_of(st.lists(NUMBERS, max_size=3), NUMBERS),
    },
)


@given(st.one_of(st.dictionaries(st.text(max_size=3), st.one_of(ENTRIES, NUMBERS), max_size=3), st.binary(max_size=40)))
def test_that_a_header_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    header = content if isinstance(content, bytes) else json.dumps(content).encode()
    file = header_file(tmp_path_factory.getbasetemp() / "fuzz.safetensors", header, b"12345678")
    with contextlib.suppress(UserError):
        tensors = read_file_header(file)
        assert all(min(info.shape, default=0) >= 0 for info in tensors.values())


def test_that_a_deeply_nested_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not JSON"):
        read_file_header(header_file(tmp_path / SINGLE, b"[" * 100_000))


def test_that_the_hash_tells_two_fine_tunes_of_one_model_apart(tmp_path: Path) -> None:
    first, second = write_llama(tmp_path / "a", fill=1), write_llama(tmp_path / "b", fill=2)
    assert hash_weights(first) != hash_weights(second)
    assert hash_weights(first) == hash_weights(write_llama(tmp_path / "c", fill=1))
