"""Data files of every kind, ordinary, odd and hostile, each with what must come of adding it."""

import gzip
import io
import json
import os
import sqlite3
import stat
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

TEXTS = ["good", "bad, very", 'a "quote"', "two\nlines", "ä€😀"]
LINES = "".join(json.dumps({"text": text, "n": n}, ensure_ascii=False) + "\n" for n, text in enumerate(TEXTS)).encode()


@dataclass(frozen=True)
class Case:
    """``make`` writes the file into a folder and returns what is to be added.

    It gives ``rows`` rows of format ``format``, or, where ``rows`` is 0, an error with ``words`` at ``place``.
    """

    id: str
    make: Callable[[Path], Path]
    rows: int = 0
    format: str = ""
    words: str = ""
    place: str = ""
    first: dict[str, Any] = field(default_factory=dict)  # values that the first row must have
    options: dict[str, Any] = field(default_factory=dict)


def cases() -> list[Case]:
    """All of them."""
    return [
        *_text_files(),
        *_csv_files(),
        *_json_files(),
        *_packed(),
        *_arrow(),
        *_databases(),
        *_archives(),
        *_paths(),
    ]


def good(id_: str, name: str, content: bytes | str, rows: int, format_: str = "text", **more: Any) -> Case:
    return Case(id_, _writer(name, content), rows, format_, **more)


def bad(id_: str, name: str, content: bytes | str, words: str, place: str = "", **more: Any) -> Case:
    return Case(id_, _writer(name, content), words=words, place=place or name, **more)


def _writer(name: str, content: bytes | str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def _text_files() -> list[Case]:
    return [
        good("text", "a.txt", "one\ntwo\n\nthree\n", 2),
        good("text with CRLF", "a.txt", "one\r\ntwo\r\n\r\nthree", 2, first={"text": "one\ntwo"}),
        good("text with a byte order mark", "a.txt", b"\xef\xbb\xbfone\n", 1, first={"text": "one"}),
        good("markdown", "a.md", "# head\n\nbody\n", 2),
        good("text of one huge line", "a.txt", "word " * 400_000, 1),
        good("text with control characters", "a.txt", "\x1b[31mred\x07\n", 1),
        bad("empty text", "a.txt", "", "empty"),
        bad("text of blanks", "a.txt", " \n\n\t\n", "no rows"),
        bad("text in UTF-16", "a.txt", "one\n".encode("utf-16"), "UTF-16"),
        bad("text in UTF-16 without a mark", "a.txt", "one\n".encode("utf-16-le"), "binary"),
        bad("text in UTF-32", "a.txt", b"\x00\x00\xfe\xff" + "one".encode("utf-32-be"), "UTF-32"),
        bad("text in Latin-1", "a.txt", "one\n\ngrün\n".encode("latin-1"), "byte 7 (0xfc) is not UTF-8", "a.txt:3"),
        bad("text with a line beyond all bounds", "a.txt", b"x" * (64 * 1024 * 1024 + 2), "longer than 64", "a.txt:1"),
        bad("a program as text", "a.txt", b"\x7fELF\x02\x01\x01\0\0\0", "binary"),
        bad("text cut in a character", "a.txt", "one €".encode()[:-1], "not UTF-8", "a.txt:1"),
        bad("an overlong encoding", "a.txt", b"\xc0\xaf\n", "not UTF-8", "a.txt:1"),
    ]


def _csv_files() -> list[Case]:
    rows = "text,label\ngood,1\nbad,0\nfine,1\nworse,0\n"
    return [
        good("CSV", "a.csv", rows, 4, "classification", first={"text": "good", "label": "1"}),
        good("CSV with CRLF and a mark", "a.csv", b"\xef\xbb\xbftext\r\ngood\r\n", 1, first={"text": "good"}),
        good(
            "CSV with quotes and line breaks", "a.csv", 'text\n"a, ""b""\n\nc"\nd\n', 2, first={"text": 'a, "b"\n\nc'}
        ),
        good("CSV with semicolons", "a.csv", "text;n\na,b;1\n", 1, first={"text": "a,b"}),
        good("CSV with tabs", "a.tsv", "text\tn\na,b\t1\n", 1, first={"text": "a,b"}),
        good("CSV with empty column names", "a.csv", ",text,\n1,a,2\n", 1, first={"column_1": "1", "column_3": "2"}),
        good("CSV with blank lines", "a.csv", "\n\ntext\n\na\n\n\nb\n", 2),
        good("CSV with empty fields", "a.csv", "text,n\na,\nb,\n", 2, first={"n": ""}),
        bad("CSV with line ends of an old Mac", "a.csv", "text,n\rgood,1\rbad,2\r", "carriage return", "a.csv:1"),
        good("CSV with formulas", "a.csv", "text\n=cmd|' /C calc'!A0\n", 1),
        good("CSV with control characters in a name", "a.csv", "text,\x1b[31m\na,b\n", 1),
        good("CSV with a huge field", "a.csv", f"text\n{'x' * 3_000_000}\n", 1),
        bad("CSV with a header only", "a.csv", "text,label\n", "no rows"),
        bad("CSV of blank lines", "a.csv", "\n\n\n", "no header"),
        bad("CSV with a short row", "a.csv", "text,n\na,1\nb\n", "1 fields, the header has 2", "a.csv:3"),
        bad("CSV with a long row", "a.csv", "text,n\na,1,2\n", "3 fields, the header has 2", "a.csv:2"),
        bad("CSV with a name twice", "a.csv", "text,text\na,b\n", "'text' more than once", "a.csv:1"),
        bad("CSV with a name twice after blanks", "a.csv", "\n\na,a\n1,2\n", "'a' more than once", "a.csv:3"),
        bad("CSV with a torn quote", "a.csv", 'text,n\na,1\n"b,2\nc,3\n', "never ends", "a.csv:3"),
        bad("CSV with a quote in a quoted field", "a.csv", 'text,n\n"a"b,1\n', "not valid CSV", "a.csv:2"),
        good("CSV with a NUL far in", "a.csv", b"text\n" + b"abc\n" * 9000 + b"a\0b\n", 9001),
        bad("CSV that is an image", "a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        bad("CSV in Latin-1", "a.csv", "text,n\ngrün,1\n".encode("latin-1"), "not UTF-8", "a.csv:2"),
    ]


def _json_files() -> list[Case]:
    deep = '{"text": "a", "x": ' + "[" * 300 + "]" * 300 + "}\n"
    deeper = '{"text": "a", "x": ' + "[" * 50_000 + "]" * 50_000 + "}\n"
    infinite = '{"text": "a", "x": ' + "[" * 600 + "1e999" + "]" * 600 + "}\n"
    big = 2**70
    return [
        good("JSON lines", "a.jsonl", LINES, 5, first={"text": "good", "n": 0}),
        good("JSON lines with CRLF and a mark", "a.ndjson", b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n"), 5),
        good("JSON lines without a last line end", "a.jsonl", LINES.rstrip(), 5),
        good("JSON lines with all line breaks of Unicode", "a.jsonl", '{"text": "a\u2028b\x85c"}\n', 1),
        good("JSON lines by the name of JSON", "a.json", '{"text": "a\u2028b\x85c"}\n{"text": "d"}\n', 2),
        good("JSON with a list", "a.json", '[{"text": "a"}]', 1),
        good("JSON with data", "a.json", '{"version": 1, "data": [{"text": "a"}, {"text": null}]}', 2),
        good("rows with other columns each", "a.jsonl", '{"text": "a"}\n{"text": "b", "n": 1}\n', 2),
        good("numbers beyond 64 bits", "a.jsonl", f'{{"text": "a", "n": {big}}}\n', 1, first={"n": big}),
        good("numbers that are none", "a.jsonl", '{"text": "a", "n": NaN, "m": 1e999}\n', 1,
             first={"n": None, "m": None}),
        good("nulls", "a.jsonl", '{"text": null, "n": null}\n{"text": "a", "n": null}\n', 2, first={"text": None}),
        good("a conversation", "a.jsonl", '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", '
             '"content": "b"}]}\n', 1, "messages"),
        good("a chat with null characters", "a.jsonl", '{"text": "a\\u0000b"}\n', 1, first={"text": "a\0b"}),
        bad("nested a little deep", "a.jsonl", '{"text": "x"}\n' + deep, "nested too deeply", "a.jsonl: row 2"),
        bad("nested deep", "a.jsonl", deeper, "nested too deeply", "a.jsonl:1"),
        bad("nested deep around an infinity", "a.jsonl", infinite, "nested too deeply", "a.jsonl: row 1"),
        bad("nested deep as a document", "a.json", "[" * 50_000, "nested too deeply"),
        bad("a lone surrogate", "a.jsonl", '{"text": "\\ud800"}\n', "half of a character", "a.jsonl: row 1"),
        bad("a lone surrogate in a name", "a.jsonl", '{"text": "a", "\\udc00": 1}\n', "half of a character",
            "a.jsonl: row 1"),
        bad("an endless number", "a.jsonl", '{"text": "a", "n": ' + "9" * 5000 + "}\n", "not valid JSON", "a.jsonl:1"),
        bad("a list per line", "a.jsonl", '{"text": "a"}\n[1]\n', "a list, not an object", "a.jsonl:2"),
        bad("a number as a document", "a.json", "3", "a number"),
        bad("a text as an item", "a.json", '[{"text": "a"}, "b"]', "item 2 of the list is a text"),
        bad("a torn line", "a.jsonl", LINES[:-9], "not valid JSON", "a.jsonl:5"),
        bad("a torn document", "a.json", '\n\n[{"text": "a"},\n{"text": ]', "at column 10", "a.json:4"),
        bad("a torn line by the name of JSON", "a.json", '\n{"text": "a"}\n{"text"\n', "not valid JSON", "a.json:3"),
        bad("single quotes", "a.jsonl", "{'text': 'a'}\n", "not valid JSON", "a.jsonl:1"),
        bad("two objects in a line", "a.jsonl", '{"text": "a"} {"text": "b"}\n', "extra data", "a.jsonl:1"),
        bad("rows without columns", "a.jsonl", "{}\n{}\n", "no columns"),
        bad("rows without text", "a.jsonl", '{"n": 1.5, "m": [2]}\n', "no column holds text to learn from: 'n', 'm'"),
        bad("an empty list", "a.json", "[]", "no rows"),
        bad("a document of blanks", "a.json", " \n ", "empty"),
        bad("a pickle by the name of JSON lines", "a.jsonl", b"\x80\x04\x95\x0b\0\0\0", "pickle"),
        bad("a pickle of the first kind", "a.jsonl", b"(lp0\nVtext\np1\na.", "not valid JSON", "a.jsonl:1"),
        bad("a pickle by its own name", "a.pkl", b"(lp0\n", "pickle"),
        bad("JSON lines in Latin-1", "a.jsonl", '{"text": "grün"}\n'.encode("latin-1"), "not UTF-8", "a.jsonl:1"),
        bad("a Parquet file by the name of JSON lines", "a.jsonl", b"PAR1\x15\x04\x15\0\0", "binary"),
        bad("a page of the web", "a.jsonl", "<!DOCTYPE html>\n<html>\n", "not valid JSON", "a.jsonl:1"),
    ]  # fmt: skip


def _packed() -> list[Case]:
    packed = gzip.compress(LINES * 300)
    return [
        good("gzip", "a.jsonl.gz", gzip.compress(LINES), 5),
        good("gzip in two parts", "a.jsonl.gz", gzip.compress(LINES) + gzip.compress(LINES), 10),
        good("gzip by a loud name", "a.CSV.GZ", gzip.compress(b"text\na\n"), 1),
        bad("gzip cut short", "a.jsonl.gz", packed[:-30], "gzip data is damaged"),
        bad("gzip cut in its head", "a.jsonl.gz", packed[:5], "gzip data is damaged"),
        bad("gzip with a wrong checksum", "a.jsonl.gz", packed[:-8] + bytes(8), "gzip data is damaged"),
        bad("gzip followed by something else", "a.jsonl.gz", packed + b"more", "gzip data is damaged"),
        bad("gzip that is none", "a.jsonl.gz", LINES, "gzip data is damaged"),
        bad("gzip of nothing", "a.jsonl.gz", gzip.compress(b""), "empty"),
        bad("gzip of binary data", "a.csv.gz", gzip.compress(b"\0\1\2"), "binary"),
        bad("a gzip bomb of text", "a.txt.gz", gzip.compress((b"x" * 999 + b"\n") * 40_000), "200 times its size"),
        bad("a gzip bomb of JSON", "a.json.gz", gzip.compress(b" " * 64_000_000), "200 times its size"),
        bad("a gzip of Parquet", "a.parquet.gz", packed, "not supported"),
        bad("a tar", "a.tar.gz", packed, "not supported"),
    ]


def _feature_note() -> dict[bytes, bytes]:
    features = {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def parquet_bytes(table: pa.Table, **more: Any) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, **more)
    return sink.getvalue()


def arrow_bytes(table: pa.Table, *, stream: bool = False, **more: Any) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema, **more) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def odd_table() -> pa.Table:
    """Columns of kinds that JSON does not know."""
    return pa.table(
        {
            "text": pa.array(TEXTS).dictionary_encode(),
            "view": pa.array(TEXTS, pa.string_view()),
            "day": [date(2020, 1, 2)] * 5,
            "at": [datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)] * 5,
            "fine": pa.array([1_600_000_000_123_456_789] * 5, pa.timestamp("ns")),
            "clock": [time(3, 4, 5)] * 5,
            "took": [timedelta(seconds=5)] * 5,
            "price": [Decimal("1.50")] * 5,
            "half": pa.array([1.5] * 5, pa.float16()),
            "pairs": pa.array([[("a", 1)]] * 5, pa.map_(pa.string(), pa.int64())),
            "moments": pa.array([[1_600_000_000_123_456_789]] * 5, pa.list_(pa.timestamp("ns"))),
            "none": pa.nulls(5),
        }
    )


ODD_ROW = {
    "text": "good",
    "view": "good",
    "day": "2020-01-02",
    "clock": "03:04:05.000000",
    "price": "1.50",
    "half": 1.5,
}


def _arrow() -> list[Case]:
    plain = pa.table({"text": TEXTS, "label": [0, 1, 0, 1, -1]})
    named = plain.replace_schema_metadata(_feature_note())
    twice = pa.table([TEXTS, TEXTS], names=["text", "text"])
    binary = pa.table({"text": TEXTS, "image": [b"\0"] * 5})
    nested = pa.table({"text": TEXTS, "image": [{"bytes": b"\0", "path": "x"}] * 5})
    mangled = pa.table({"text": pa.array([b"ok", b"\xff\xfe"]).view(pa.string())})
    ends, wrong = struct.pack("<3i", 0, 4, 13), struct.pack("<3i", 0, 2**31 - 1, 13)  # of the first texts
    bomb = parquet_bytes(pa.table({"text": ["x" * 1_000_000] * 40}))
    whole, streamed = parquet_bytes(plain), arrow_bytes(plain, stream=True)
    return [
        good("Parquet", "a.parquet", whole, 5),
        good("Parquet with odd columns", "a.parquet", parquet_bytes(odd_table().drop_columns(["half"])), 5,
             first={key: value for key, value in ODD_ROW.items() if key != "half"}),
        good("Parquet with many row groups", "a.parquet", parquet_bytes(plain, row_group_size=1), 5),
        good("Parquet with class names", "a.parquet", parquet_bytes(named), 5, "classification", first={"label": "no"}),
        good("Arrow with odd columns", "a.arrow", arrow_bytes(odd_table()), 5, first=ODD_ROW),
        good("Arrow as a stream", "a.arrow", streamed, 5),
        good("Arrow with class names", "a.arrow", arrow_bytes(named, stream=True), 5, "classification",
             first={"label": "no"}),
        good("Feather, packed", "a.feather", arrow_bytes(plain, options=pa.ipc.IpcWriteOptions(compression="zstd")), 5),
        bad("Parquet without rows", "a.parquet", parquet_bytes(plain.slice(0, 0)), "no rows"),
        bad("Arrow without rows", "a.arrow", arrow_bytes(plain.slice(0, 0)), "no rows"),
        bad("Parquet without columns", "a.parquet", parquet_bytes(pa.table({})), "no rows"),
        bad("Parquet cut short", "a.parquet", whole[:-9], "cannot be read as Parquet"),
        bad("Parquet cut in half", "a.parquet", whole[: len(whole) // 2], "cannot be read as Parquet"),
        bad("Parquet that is text", "a.parquet", LINES, "cannot be read as Parquet"),
        bad("Arrow cut short", "a.arrow", arrow_bytes(plain)[:-40], "cannot be read as Arrow"),
        bad("an Arrow stream cut short", "a.arrow", streamed[: len(streamed) - 120], "cannot be read as Arrow"),
        bad("Arrow that is text", "a.arrow", LINES, "cannot be read as Arrow"),
        bad("an empty Arrow file", "a.arrow", b"", "empty"),
        bad("Parquet with binary data", "a.parquet", parquet_bytes(binary), "column 'image' holds binary"),
        bad("Arrow with binary data", "a.feather", arrow_bytes(binary), "column 'image' holds binary"),
        bad("Parquet with pictures", "a.parquet", parquet_bytes(nested), "column 'image' holds binary"),
        bad("Arrow with pictures", "a.arrow", arrow_bytes(nested), "column 'image' holds binary"),
        bad("Parquet with a name twice", "a.parquet", parquet_bytes(twice), "'text' more than once"),
        bad("Arrow with a name twice", "a.arrow", arrow_bytes(twice), "'text' more than once"),
        bad("Arrow with text that is none", "a.arrow", arrow_bytes(mangled), "UTF"),
        bad("a Parquet bomb", "a.parquet", bomb, "200 times its size"),
        bad("Parquet with a name that is none", "a.parquet", whole.replace(b"label", b"\x80abel"), "Parquet"),
        bad("Arrow with texts that end outside", "a.arrow", arrow_bytes(plain).replace(ends, wrong), "column 'text'"),
        bad("Parquet with text that is none", "a.parquet", parquet_bytes(mangled), "UTF"),
    ]  # fmt: skip


def sqlite_bytes(folder: Path, script: str) -> bytes:
    """A database as the script makes it."""
    path = folder / "made.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    content = path.read_bytes()
    path.unlink()
    return content


TABLE = "CREATE TABLE t (text TEXT, n); INSERT INTO t VALUES ('good', 1), (NULL, 2.5), ('ä', NULL);"


def _made(name: str, script: str, change: Callable[[bytes], bytes] = bytes) -> Callable[[Path], Path]:
    return lambda folder: _writer(name, change(sqlite_bytes(folder, script)))(folder)


def _databases() -> list[Case]:
    def one(id_: str, script: str, rows: int, **more: Any) -> Case:
        return Case(id_, _made("a.db", script), rows, "text", **more)

    def no(id_: str, script: str, words: str, place: str = "a.db", **more: Any) -> Case:
        return Case(id_, _made("a.db", script), words=words, place=place, **more)

    more = "CREATE TABLE other (text); INSERT INTO other VALUES ('x');"
    long = TABLE + "".join(f"CREATE TABLE t{i} (a);" for i in range(40))
    return [
        one("SQLite", TABLE, 3, first={"text": "good", "n": 1}),
        one("SQLite in UTF-16", "PRAGMA encoding = 'UTF-16';" + TABLE, 3, first={"text": "good"}),
        one("SQLite with a log", "PRAGMA journal_mode = WAL;" + TABLE, 3),
        one("SQLite with a chosen table", TABLE + more, 1, options={"table": "other"}),
        one("SQLite with a chosen view", TABLE + "CREATE VIEW v AS SELECT text FROM t;", 3, options={"table": "v"}),
        one("SQLite with a strange name", 'CREATE TABLE "a"";DROP TABLE x--" (text); INSERT INTO "a"";DROP TABLE x--" '
            "VALUES ('x');", 1),
        one("SQLite without row numbers", "CREATE TABLE t (text PRIMARY KEY) WITHOUT ROWID;"
            "INSERT INTO t VALUES ('x');", 1),
        one("SQLite with an index", TABLE + "CREATE INDEX i ON t (n); ANALYZE;", 3),
        one("SQLite with a column named rowid", "CREATE TABLE t (text, rowid); INSERT INTO t VALUES ('x', 'y');", 1),
        one("SQLite with an infinite number", TABLE + "UPDATE t SET n = 9e999;", 3, first={"n": None}),
        no("SQLite with several tables", TABLE + more, "2 tables and views: 'other', 't'"),
        no("SQLite with many tables", long, "41 tables"),
        no("SQLite with a wrong table chosen", TABLE, "no table 'u'", options={"table": "u"}),
        no("SQLite with binary data", TABLE + "INSERT INTO t VALUES (x'00', 1);", "column 'text' holds binary",
           "a.db: table 't', row 4"),
        no("SQLite with text that is none", TABLE + "INSERT INTO t VALUES (CAST(x'ff' AS TEXT), 1);", "not UTF-8",
           "a.db: table 't', row 4"),
        no("SQLite without rows", "CREATE TABLE t (text);", "no rows"),
        no("SQLite without tables", "CREATE TABLE t (text); DROP TABLE t;", "no tables"),
        no("SQLite with a search index only", "CREATE VIRTUAL TABLE t USING fts5(text);", "virtual"),
        no("SQLite with a view of nothing", "CREATE VIEW v AS SELECT x FROM gone;", "no such table"),
        no("SQLite with an endless view", "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
           "FROM n) SELECT 'x' AS text FROM n;", "not authorized"),
        Case("SQLite cut short", _made("a.db", long, lambda data: data[:9000]), words="SQLite", place="a.db"),
        Case("SQLite scribbled over", _made("a.db", TABLE, lambda data: data[:4200] + b"\xff" * 4000), words="SQLite",
             place="a.db"),
        bad("SQLite that is text", "a.sqlite3", LINES, "no SQLite database"),
        bad("SQLite that is only a head", "a.db", b"SQLite format 3\0", "no SQLite database"),
        bad("an empty database", "a.db", b"", "empty"),
    ]  # fmt: skip


def zip_bytes(members: dict[str, bytes | str], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return sink.getvalue()


def _zip_with_link() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        info = zipfile.ZipInfo("a.jsonl")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return sink.getvalue()


def _flagged(data: bytes) -> bytes:
    """Every member marked as encrypted."""
    changed = bytearray(data)
    for head, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = changed.find(head)
        while place >= 0:
            changed[place + at] |= 1
            place = changed.find(head, place + 4)
    return bytes(changed)


def _archives() -> list[Case]:
    plain = zip_bytes({"a.jsonl": LINES})
    stored = zip_bytes({"a.jsonl": LINES}, zipfile.ZIP_STORED)
    bomb = zip_bytes({"a.txt": b"x\n" * 12_000_000})
    table = pa.table({"text": TEXTS})
    rich = {"1.parquet": parquet_bytes(table), "2/3.arrow": arrow_bytes(table), "4.jsonl.gz": gzip.compress(LINES)}
    return [
        good("zip", "a.zip", plain, 5),
        good("zip of many kinds", "a.zip", zip_bytes(rich), 15),
        good("zip of a Mac", "a.zip", zip_bytes({"a.txt": "x", "__MACOSX/._a.txt": b"\0", ".DS_Store": b"\0"}), 1),
        good("zip with other files", "a.zip", zip_bytes({"a.csv": "text\nx\n", "LICENSE": "y", "a.png": b"\0"}), 1),
        good("zip behind a program", "a.zip", b"#!/bin/sh\n" + plain, 5),
        bad("zip without data", "a.zip", zip_bytes({"a.png": b"\0"}), "no data files"),
        bad("zip without files", "a.zip", zip_bytes({}), "no data files"),
        bad("an empty zip", "a.zip", b"", "cannot be read"),
        bad("zip that is none", "a.zip", LINES, "cannot be read"),
        bad("zip cut short", "a.zip", plain[:-30], "cannot be read"),
        bad("zip with a wrong checksum", "a.zip", stored.replace(b"good", b"food"), "CRC", "a.zip/a.jsonl"),
        bad("zip that is encrypted", "a.zip", _flagged(plain), "encrypted", "a.zip/a.jsonl"),
        bad("zip in a zip", "a.zip", zip_bytes({"a.jsonl": LINES, "b/inner.zip": plain}), "'b/inner.zip'"),
        bad("zip that climbs out", "a.zip", zip_bytes({"../../a.jsonl": LINES}), "leads out"),
        bad("zip that climbs out later", "a.zip", zip_bytes({"a.jsonl": LINES, "x/../../b.png": "x"}), "leads out"),
        bad("zip with an absolute path", "a.zip", zip_bytes({"/etc/cron.d/a.jsonl": LINES}), "leads out"),
        bad("zip with a drive", "a.zip", zip_bytes({"C:/a.jsonl": LINES}), "leads out"),
        bad("zip with backslashes", "a.zip", zip_bytes({"..\\a.jsonl": LINES}), "leads out"),
        bad("zip with a link", "a.zip", _zip_with_link(), "is a link"),
        bad("a zip bomb", "a.zip", bomb, "200 times its size", "a.zip/a.txt"),
        bad("zip with an empty member", "a.zip", zip_bytes({"a.csv": ""}), "empty", "a.zip/a.csv"),
        bad("zip with a wrong line", "a.zip", zip_bytes({"x/a.jsonl": '{"text": "a"}\n{'}), "JSON",
            "a.zip/x/a.jsonl:2"),
        bad("zip with a pickle", "a.zip", zip_bytes({"a.jsonl": b"\x80\x04\x95"}), "pickle", "a.zip/a.jsonl"),
        bad("zip with damaged Parquet", "a.zip", zip_bytes({"a.parquet": LINES}), "Parquet", "a.zip/a.parquet"),
        bad("zip with damaged gzip", "a.zip", zip_bytes({"a.csv.gz": LINES}), "gzip", "a.zip/a.csv.gz"),
    ]  # fmt: skip


def _linked(folder: Path) -> Path:
    _writer("given.jsonl", LINES)(folder)
    (folder / "a.jsonl").symlink_to(folder / "given.jsonl")
    return folder / "a.jsonl"


def _dangling(folder: Path) -> Path:
    path = _writer("data/a.jsonl", LINES)(folder)
    path.with_name("b.jsonl").symlink_to(folder / "gone.jsonl")
    return path.parent


def _loop(folder: Path) -> Path:
    (folder / "a.jsonl").symlink_to(folder / "a.jsonl")
    return folder / "a.jsonl"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a.jsonl")
    return folder / "a.jsonl"


def _named_like_a_file(folder: Path) -> Path:
    _writer("a.jsonl/part.txt", "x")(folder)
    return folder / "a.jsonl"


def _locked(folder: Path) -> Path:
    path = _writer("a.jsonl", LINES)(folder)
    path.chmod(0)
    return path


def _paths() -> list[Case]:
    found = [
        Case("a link to a file", _linked, 5, "text"),
        Case("a folder named like a file", _named_like_a_file, 1, "text"),
        good("a name with control characters", "a\x1b[31m\n.jsonl", LINES, 5),
        good("a name of 200 characters", "n" * 200 + ".jsonl", LINES, 5),
        Case("a folder with a link to nothing", _dangling, words="no such file", place="b.jsonl"),
        Case("a link to itself", _loop, words="no such file", place="a.jsonl"),
        Case("a pipe", _pipe, words="no ordinary file", place="a.jsonl"),
        Case("nothing", lambda folder: folder / "a.jsonl", words="no such file", place="a.jsonl"),
        Case("an empty folder", lambda folder: folder, words="no data files", place=""),
        bad("a name of another script", "日本.jsonl", LINES, "makes no name"),
        bad("a sheet", "a.xlsx", b"PK", "not supported"),
        bad("a name without a suffix", "data", LINES, "not supported"),
    ]
    if hasattr(os, "geteuid") and os.geteuid() != 0:  # root may read everything
        found.append(Case("a file that may not be read", _locked, words="may not be read", place="a.jsonl"))
    return found
