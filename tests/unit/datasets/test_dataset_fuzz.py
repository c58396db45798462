"""Whatever a file holds, reading it either works or ends in a UserError, with nothing left behind.

``FUZZ_EXAMPLES=20000`` tries as many files instead of the usual few, and watches the memory of the process.
"""

import gzip
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.core.errors import UserError
from studio.datasets.library import DatasetLibrary
from studio.datasets.lint.check import check_rows
from studio.datasets.preview import preview
from tests.helpers.corpus import TABLE, arrow_bytes, odd_table, parquet_bytes, sqlite_bytes, zip_bytes

BY_HAND = "FUZZ_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
MAX_EXAMPLE_S = 4.0
MAX_MEMORY_BYTES = 500_000_000

JSONL = (
    '{"instruction": "Say \\"hi\\"", "input": "", "output": "hi"}\n{"instruction": "ä", "output": null}\n' * 3
).encode()
CSV = b'text,label\n"a, ""b""\nc",1\nplain,0\n"x",1\n' * 2
JSON = b'{"data": [{"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]}], "n": 1e5}'
TEXT = b"one\ntwo\n\nthree\n"
PLAIN = pa.table({"text": ["good", "bad", None, "ä"], "label": [0, 1, 0, 1]})
RICH = odd_table().drop_columns(["half"])


def _database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        views = "CREATE INDEX i ON t (n); CREATE TABLE sizes (a, b); DROP TABLE sizes;"
        return sqlite_bytes(Path(folder), "PRAGMA page_size = 512;" + TABLE + views)


DATABASE = _database()


@dataclass(frozen=True)
class Seed:
    """A file to damage: before it is packed, if it is."""

    name: str
    content: bytes
    pack: Callable[[bytes], bytes] = bytes


SEEDS = [
    Seed("a.jsonl", JSONL),
    Seed("a.csv", CSV),
    Seed("a.json", JSON),
    Seed("a.txt", TEXT),
    Seed("a.tsv", CSV),
    Seed("a.parquet", parquet_bytes(PLAIN)),
    Seed("a.parquet", parquet_bytes(RICH, compression="zstd", row_group_size=2)),
    Seed("a.arrow", arrow_bytes(PLAIN)),
    Seed("a.arrow", arrow_bytes(odd_table())),
    Seed("a.arrow", arrow_bytes(odd_table(), stream=True)),
    Seed("a.feather", arrow_bytes(PLAIN, options=pa.ipc.IpcWriteOptions(compression="lz4"))),
    Seed("a.jsonl.gz", gzip.compress(JSONL)),
    Seed("a.csv.gz", CSV, gzip.compress),
    Seed("a.zip", zip_bytes({"a.jsonl": JSONL, "b/c.csv": CSV})),
    Seed("a.zip", JSONL, lambda content: zip_bytes({"a.jsonl": content, "b.jsonl.gz": gzip.compress(JSONL)})),
    Seed("a.zip", parquet_bytes(PLAIN), lambda content: zip_bytes({"a.parquet": content})),
    Seed("a.db", DATABASE),
    Seed("a.zip", DATABASE, lambda content: zip_bytes({"a.db": content})),
]


def mutated(original: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    data = original
    for position, removed, inserted in edits:
        at = position % (len(data) + 1)
        data = data[:at] + inserted + data[at + removed :]
    return data


SCRIBBLES = st.one_of(
    st.sampled_from([b'"', b"\n", b"{", b"}", b"[", b",", b"\\u", b"\0", b"\xff", b"\r", b"\x7f\xff\xff\xff"]),
    st.binary(max_size=8),
)
EDITS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 20), SCRIBBLES), min_size=1, max_size=6)
OVERWRITTEN = st.lists(st.tuples(st.integers(0, 10_000), SCRIBBLES), min_size=1, max_size=6).map(
    lambda edits: [(position, len(inserted), inserted) for position, inserted in edits]  # all else keeps its place
)


@pytest.mark.timeout(max(600, EXAMPLES))
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SEEDS), st.one_of(EDITS, OVERWRITTEN))
def test_that_damaged_files_never_raise_anything_but_a_user_error(
    seed: Seed, edits: list[tuple[int, int, bytes]]
) -> None:
    started_s = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, seed.name)
        path.write_bytes(seed.pack(mutated(seed.content, edits)))
        _add(path, DatasetLibrary(Path(folder, "datasets")))
        assert {file.name for file in Path(folder).iterdir()} <= {seed.name, "datasets"}
    assert time.process_time() - started_s < MAX_EXAMPLE_S
    if BY_HAND:
        assert _memory_bytes() < MAX_MEMORY_BYTES


def _add(path: Path, library: DatasetLibrary) -> None:
    refused: UserError | None = None
    try:
        facts = library.add(path)
    except UserError as error:
        refused = error
    if refused is not None:
        assert refused.hint
        assert not library.root.exists() or list(library.root.iterdir()) == []
        return
    stored = library.open(facts.name)
    assert len(list(stored)) == facts.rows
    check_rows(stored, facts.format, facts.mapping, facts.labels)
    preview(stored, None, facts.format, facts.mapping, facts.labels, 0, 5)


def _memory_bytes() -> int:
    """The most memory the process has held."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
