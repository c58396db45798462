"""Reading files: what each format gives, and what is said about files that are wrong."""

import gzip
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from studio.core.errors import Cancelled, UserError
from studio.datasets import decoding
from studio.datasets.progress import Meter
from studio.datasets.readers import find_files, read_rows

Write = Callable[..., Path]


def read(path: Path) -> list[dict[str, Any]]:
    return list(read_rows(find_files(path), Meter("reading", 1, None, None), path.parent))


def refusal(path: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        read(path)
    assert caught.value.hint, "every refusal says what to do"
    return caught.value


def test_that_json_lines_are_rows_and_blank_lines_are_skipped(write: Write) -> None:
    assert read(write("a.jsonl", '{"a": "ä"}\n\n  \n{"a": 2}')) == [{"a": "ä"}, {"a": 2}]


def test_that_a_byte_order_mark_is_no_part_of_the_first_row(write: Write) -> None:
    assert read(write("a.jsonl", b'\xef\xbb\xbf{"a": 1}\n')) == [{"a": 1}]
    assert read(write("a.csv", b"\xef\xbb\xbfa,b\n1,2\n")) == [{"a": "1", "b": "2"}]


def test_that_nan_in_json_is_a_missing_value(write: Write) -> None:
    assert read(write("a.jsonl", '{"a": NaN, "b": -Infinity}\n')) == [{"a": None, "b": None}]


def test_that_a_line_that_is_no_object_is_named_with_its_line(write: Write) -> None:
    error = refusal(write("a.jsonl", '{"a": 1}\n\n[1, 2]\n'))
    assert error.where == "a.jsonl:3"
    assert "a list, not an object" in error.message


def test_that_broken_json_is_named_with_line_and_column(write: Write) -> None:
    error = refusal(write("a.jsonl", '{"a": 1}\n{"a": \n'))
    assert error.where == "a.jsonl:2"
    assert "column 6" in error.message


def test_that_json_nested_too_deeply_is_refused(write: Write) -> None:
    assert "nested too deeply" in refusal(write("a.jsonl", '{"a": ' + "[" * 200_000)).message


def test_that_an_endless_integer_is_refused(write: Write) -> None:
    assert "not valid JSON" in refusal(write("a.jsonl", '{"a": ' + "1" * 5000 + "}")).message


@pytest.mark.parametrize(
    "document", ['[{"a": 1}]', '{"data": [{"a": 1}], "version": [1, 2]}', '{"train": [{"a": 1}], "name": "x"}']
)
def test_that_a_json_document_gives_its_list_of_rows(write: Write, document: str) -> None:
    assert read(write("a.json", document)) == [{"a": 1}]


def test_that_json_lines_may_be_named_json(write: Write) -> None:
    assert read(write("a.json", '{"a": 1}\n{"a": 2}\n')) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("document", "said"),
    [("3", "a number"), ('{"a": 1}', "an object"), ('[{"a": 1}, "x"]', "item 2"), ('[{"a": 1},\n{"a": ]', "a.json:2")],
)
def test_that_a_json_document_without_rows_is_refused(write: Write, document: str, said: str) -> None:
    assert said in str(refusal(write("a.json", document)))


def test_that_csv_keeps_quotes_and_line_breaks_in_fields(write: Write) -> None:
    rows = read(write("a.csv", 'text,label\r\n"a, ""b""\nc",1\r\n\r\nd,2\r\n'))
    assert rows == [{"text": 'a, "b"\nc', "label": "1"}, {"text": "d", "label": "2"}]


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t"), ("a.csv", "|")])
def test_that_the_separator_is_found_in_the_header(write: Write, name: str, separator: str) -> None:
    assert read(write(name, f"a{separator}b\n1,5{separator}2\n")) == [{"a": "1,5", "b": "2"}]


def test_that_a_torn_quote_is_named_with_the_line_it_starts_in(write: Write) -> None:
    error = refusal(write("a.csv", 'text,label\nfine,1\n"torn,2\nmore,3\n'))
    assert error.where == "a.csv:3"
    assert "never ends" in error.message


def test_that_a_quote_in_the_middle_of_a_quoted_field_is_refused(write: Write) -> None:
    assert refusal(write("a.csv", 'a,b\n"x"y,2\n')).where == "a.csv:2"


@pytest.mark.parametrize("row", ["1", "1,2,3"])
def test_that_a_csv_row_of_another_length_is_named(write: Write, row: str) -> None:
    assert refusal(write("a.csv", f"a,b\n1,2\n{row}\n")).where == "a.csv:3"


def test_that_a_csv_column_without_a_name_gets_one_and_a_repeated_name_is_refused(write: Write) -> None:
    assert read(write("a.csv", ",b\n1,2\n")) == [{"column_1": "1", "b": "2"}]
    assert "more than once" in refusal(write("b.csv", "a,a\n1,2\n")).message


def test_that_text_gives_one_row_per_paragraph(write: Write) -> None:
    assert read(write("a.txt", "\n\none\ntwo \n\n \nthree")) == [{"text": "one\ntwo"}, {"text": "three"}]


def test_that_parquet_and_arrow_give_rows_that_json_can_hold(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array(["a", None]).dictionary_encode(),
            "day": [date(2020, 1, 2), None],
            "price": [Decimal("1.50"), None],
            "turns": [[{"from": "human", "value": "x"}], []],
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pa.OSFile(str(tmp_path / "b.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    expected = {"text": "a", "day": "2020-01-02", "price": "1.50", "turns": [{"from": "human", "value": "x"}]}
    for name in ("a.parquet", "a.arrow", "b.arrow"):
        rows = read(tmp_path / name)
        assert rows == [expected, {"text": None, "day": None, "price": None, "turns": []}]
        assert json.dumps(rows)


def test_that_binary_columns_are_refused_by_name(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"image": [b"\x00"]}), tmp_path / "a.parquet")
    assert "'image'" in refusal(tmp_path / "a.parquet").message


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_that_damaged_parquet_and_arrow_are_refused(write: Write, name: str) -> None:
    assert refusal(write(name, b"PAR1 nothing of the kind")).where == name


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz", "a.txt.gz"])
def test_that_gzip_is_unpacked_on_the_way(write: Write, name: str) -> None:
    content = {"a.jsonl.gz": b'{"text": "x"}\n', "a.csv.gz": b"text\nx\n", "a.txt.gz": b"x\n"}[name]
    assert read(write(name, gzip.compress(content))) == [{"text": "x"}]


def test_that_damaged_gzip_is_refused(write: Write) -> None:
    packed = gzip.compress(b'{"a": 1}\n' * 1000)
    assert "gzip" in refusal(write("a.jsonl.gz", packed[:-20])).message
    assert "gzip" in refusal(write("b.jsonl.gz", b"not gzip at all")).message


def test_that_a_gzip_bomb_is_refused_before_it_fills_the_disk(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MIB", 1)
    assert "unpacks to more than" in refusal(write("a.txt.gz", gzip.compress(b"x\n" * 500_000))).message


def test_that_an_endless_line_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_LINE_BYTES", 100)
    assert refusal(write("a.txt", "short\n" + "x" * 101)).where == "a.txt:2"


def test_that_bytes_that_are_no_utf8_are_named_by_position_and_line(write: Write) -> None:
    error = refusal(write("a.jsonl", b'{"a": 1}\n{"a": "\xe4"}\n'))
    assert error.where == "a.jsonl:2"
    assert "byte 16 (0xe4)" in error.message


def test_that_utf16_is_named(write: Write) -> None:
    assert "UTF-16" in refusal(write("a.csv", "a,b\n1,2\n".encode("utf-16"))).message


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt", "a.parquet"])
def test_that_an_empty_file_is_refused(write: Write, name: str) -> None:
    assert "empty" in refusal(write(name, b"")).message


def test_that_an_empty_gzip_is_refused(write: Write) -> None:
    assert "empty" in refusal(write("a.jsonl.gz", gzip.compress(b""))).message


def test_that_binary_data_is_refused(write: Write) -> None:
    assert "binary" in refusal(write("a.csv", b"a\0b\n")).message


@pytest.mark.parametrize(("name", "content"), [("a.pkl", b"anything"), ("a.jsonl", b"\x80\x04\x95rest")])
def test_that_a_pickle_is_refused_unread(write: Write, name: str, content: bytes) -> None:
    assert "pickle" in refusal(write(name, content)).message


@pytest.mark.parametrize(
    ("name", "hint"), [("a.xlsx", "CSV"), ("a.tar.gz", "unpack"), ("a.exe", ".jsonl"), ("a", ".jsonl")]
)
def test_that_an_unsupported_suffix_says_what_to_do(write: Write, name: str, hint: str) -> None:
    error = refusal(write(name, b"x"))
    assert "not supported" in error.message
    assert hint in error.hint


def test_that_a_missing_path_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.jsonl").where.endswith("none.jsonl")


def test_that_a_folder_is_read_in_the_order_of_its_names_without_its_readme(write: Write, tmp_path: Path) -> None:
    write("folder/b.jsonl", [{"a": 2}])
    write("folder/a/x.csv", "a\n1\n")
    write("folder/README.md", "about")
    write("folder/.hidden.jsonl", "broken")
    write("folder/dataset_info.json", "{}")
    assert read(tmp_path / "folder") == [{"a": 2}, {"a": "1"}]


def test_that_a_folder_of_texts_is_read(write: Write, tmp_path: Path) -> None:
    write("folder/a.md", "x")
    write("folder/b.txt", "y")
    assert read(tmp_path / "folder") == [{"text": "x"}, {"text": "y"}]


def test_that_a_folder_without_data_is_refused(write: Write, tmp_path: Path) -> None:
    write("folder/a.exe", "x")
    assert "no data files" in refusal(tmp_path / "folder").message


def test_that_progress_ends_at_one_and_cancelling_stops(write: Write) -> None:
    path = write("a.jsonl", [{"a": 1}])
    seen: list[float | None] = []
    meter = Meter("reading", path.stat().st_size, lambda _phase, done: seen.append(done), None)
    list(read_rows([path], meter, path.parent))
    meter.tick()
    assert seen == [1.0]
    with pytest.raises(Cancelled):
        Meter("reading", 1, None, lambda: True).tick()


def test_that_numbered_classes_get_the_names_that_the_file_knows(tmp_path: Path) -> None:
    features = {"label": {"names": ["World", "Sports"], "_type": "ClassLabel"}, "text": {"_type": "Value"}}
    note = json.dumps({"info": {"features": features}}).encode()
    table = pa.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    parquet.write_table(table.replace_schema_metadata({b"huggingface": note}), tmp_path / "a.parquet")
    assert [row["label"] for row in read(tmp_path / "a.parquet")] == ["Sports", "World", None]
    for odd in (b"{", b"[]", b'{"info": {"features": {"label": 3}}}'):
        parquet.write_table(table.replace_schema_metadata({b"huggingface": odd}), tmp_path / "b.parquet")
        assert [row["label"] for row in read(tmp_path / "b.parquet")] == [1, 0, -1]
