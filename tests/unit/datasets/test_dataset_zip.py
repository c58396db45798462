"""Zip archives: read in the order of a folder, with limits, and nothing of them left on the disk."""

import gzip
import io
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from studio.core.errors import Cancelled, UserError
from studio.datasets import zip_files
from studio.datasets.library import DatasetLibrary
from studio.datasets.progress import Meter
from studio.datasets.readers import read_rows

Pack = Callable[..., Path]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Write an archive of these members."""

    def write(members: dict[str, str | bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", packing) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path

    return write


def read(path: Path, table: str = "") -> list[dict[str, Any]]:
    scratch = path.parent / "scratch"
    scratch.mkdir()
    rows = list(read_rows([path], Meter("reading", 1, None, None), scratch, table))
    assert list(scratch.iterdir()) == []
    scratch.rmdir()
    return rows


def database(folder: Path) -> bytes:
    path = folder / "inner.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE t (a TEXT); CREATE TABLE u (a TEXT); INSERT INTO t VALUES ('db');")
    return path.read_bytes()


def test_that_an_archive_is_read_in_the_order_of_a_folder(pack: Pack) -> None:
    members = {
        "z.jsonl": '{"a": 3}\n', "b/x.csv": "a\n4\n", "a.json": '[{"a": 1}]', "c.jsonl.gz": gzip.compress(b'{"a": 2}'),
        "README.md": "about", "__MACOSX/z.jsonl": "\0", "b/.hidden.csv": "\0", "dataset_info.json": "{}", "b/": "",
    }  # fmt: skip
    assert [row["a"] for row in read(pack(members))] == [1, 2, 3, "4"]


def test_that_texts_of_an_archive_are_read_where_there_are_no_tables(pack: Pack) -> None:
    assert read(pack({"b.txt": "y", "a.md": "x"})) == [{"text": "x"}, {"text": "y"}]


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_that_every_packing_is_unpacked(pack: Pack, packing: int) -> None:
    assert read(pack({"a.csv": "a\n1\n"}, packing)) == [{"a": "1"}]


def test_that_tables_that_are_no_streams_are_unpacked_one_at_a_time(pack: Pack, tmp_path: Path) -> None:
    table = pa.table({"a": ["x"]})
    buffer, sink = io.BytesIO(), io.BytesIO()
    parquet.write_table(table, buffer)
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    members = {"1.parquet": buffer.getvalue(), "2.arrow": sink.getvalue(), "3.db": database(tmp_path)}
    assert [row["a"] for row in read(pack(members), "t")] == ["x", "x", "db"]
    with pytest.raises(UserError) as caught:
        list(read_rows([pack(members)], Meter("reading", 1, None, None), tmp_path))
    assert caught.value.where == "a.zip/3.db"
    assert not (tmp_path / "unpacked").exists()


def test_that_damage_is_named_by_archive_and_member(pack: Pack) -> None:
    path = pack({"ok.csv": "a\n1\n", "x/bad.csv": "a\nhello\n"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"hello", b"hallo"))
    with pytest.raises(UserError, match="CRC") as caught:
        read(path)
    assert caught.value.where == "a.zip/x/bad.csv"


def test_that_a_wrong_line_is_named_by_member_and_line(pack: Pack) -> None:
    with pytest.raises(UserError) as caught:
        read(pack({"x/bad.jsonl": '{"a": 1}\n{"a"\n'}))
    assert caught.value.where == "a.zip/x/bad.jsonl:2"


def test_that_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_files, "MIB", 1)
    with pytest.raises(UserError, match="200 times its size") as caught:
        list(read_rows([pack({"a.txt": b"x\n" * 500_000})], Meter("reading", 1, None, None), Path()))
    assert caught.value.where == "a.zip/a.txt"


def test_that_members_which_share_their_bytes_are_counted_together(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_files, "_limit_bytes", lambda _packed: 1_000_000)
    with pytest.raises(UserError, match="archive unpacks to more") as caught:
        list(read_rows([pack({f"{i}.txt": "x " * 90_000 for i in range(9)})], Meter("reading", 1, None, None), Path()))
    assert caught.value.where == "a.zip"


def test_that_limits_hold_for_members_and_for_files_that_must_be_unpacked(
    pack: Pack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(zip_files, "MAX_UNPACKED_BYTES", 10)
    with pytest.raises(UserError, match="more than 10 B"):
        list(read_rows([pack({"a.db": database(tmp_path)})], Meter("reading", 1, None, None), tmp_path))
    monkeypatch.setattr(zip_files, "MAX_MEMBERS", 3)
    with pytest.raises(UserError, match="4 files, more than 3"):
        list(read_rows([pack(dict.fromkeys("abcd", ""))], Meter("reading", 1, None, None), tmp_path))


def test_that_progress_through_an_archive_only_grows_and_it_can_be_cancelled(
    pack: Pack, library: DatasetLibrary, tmp_path: Path
) -> None:
    rows = "".join(f'{{"text": "row {number}"}}\n' for number in range(3000))
    path = pack({"b.jsonl": rows, "a.jsonl": rows, "c.db": database(tmp_path)})
    seen: list[float | None] = []
    assert library.add(path, table="t", progress=lambda _phase, done: seen.append(done)).rows == 6001
    fractions = [done for done in seen if done is not None]
    assert fractions == sorted(fractions)
    assert fractions[len(fractions) // 2] > 0
    with pytest.raises(Cancelled):
        library.add(path, name="again", table="t", cancelled=lambda: True)
    assert [folder.name for folder in library.root.iterdir()] == ["a-t"]


def test_that_an_archive_inside_a_folder_is_no_second_copy(write: Callable[..., Path], library: DatasetLibrary) -> None:
    write("folder/a.csv", "text\nx\n")
    path = write("folder/a.zip", b"not looked at").parent
    assert library.add(path).rows == 1
