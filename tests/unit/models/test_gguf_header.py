"""GGUF headers: read without unpacking, and refused with the reason."""

from pathlib import Path

import pytest

from studio.core.errors import UserError
from studio.models.gguf_header import read_gguf
from tests.helpers.gguf_files import write_tiny_gguf


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_tiny_gguf(tmp_path / "tiny.gguf")


def test_that_the_header_tells_size_architecture_licence_and_splitting(file: Path) -> None:
    facts = read_gguf(file)
    assert (facts.architecture, facts.license, facts.split, facts.tensors) == ("llama", "mit", "smollm", 20)
    assert facts.params == 320 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 96 + 2 * 64) + 64


@pytest.mark.parametrize("keep", [3, 10, 60, 2000, -1])
def test_that_a_cut_file_is_refused(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"cut short|damaged|no GGUF"):
        read_gguf(file)


def test_that_other_files_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "x.gguf"
    other.write_bytes(b"PK\x03\x04 a zip file")
    with pytest.raises(UserError, match="no GGUF file"):
        read_gguf(other)


@pytest.mark.parametrize(
    ("options", "words"), [({"split_count": 3}, "one of 3 parts"), ({"type_": "mmproj"}, "no language model")]
)
def test_that_parts_and_projectors_are_refused(tmp_path: Path, options: dict[str, object], words: str) -> None:
    file = write_tiny_gguf(tmp_path / "x.gguf", **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=words):
        read_gguf(file)


def test_that_a_damaged_length_reads_no_gigabytes(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[24:32] = (2**60).to_bytes(8, "little")  # the length of the first key
    file.write_bytes(raw)
    with pytest.raises(UserError, match="damaged"):
        read_gguf(file)
