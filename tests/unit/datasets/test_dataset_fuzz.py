"""Whatever a file holds, reading it either works or ends in a UserError, with nothing left behind."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import UserError
from studio.datasets.library import DatasetLibrary
from studio.datasets.lint.check import check_rows
from studio.datasets.preview import preview

JSONL = (
    '{"instruction": "Say \\"hi\\"", "input": "", "output": "hi"}\n{"instruction": "ä", "output": null}\n' * 3
).encode()
CSV = b'text,label\n"a, ""b""\nc",1\nplain,0\n"x",1\n' * 2
JSON = b'{"data": [{"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]}], "n": 1e5}'
TEXT = b"one\ntwo\n\nthree\n"


def mutated(original: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    data = original
    for position, removed, inserted in edits:
        at = position % (len(data) + 1)
        data = data[:at] + inserted + data[at + removed :]
    return data


EDITS = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.integers(0, 20),
        st.one_of(
            st.sampled_from([b'"', b"\n", b"{", b"}", b"[", b",", b"\\u", b"\0", b"\xff", b"\r"]), st.binary(max_size=8)
        ),
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([("a.jsonl", JSONL), ("a.csv", CSV), ("a.json", JSON), ("a.txt", TEXT), ("a.tsv", CSV)]), EDITS)
def test_that_damaged_files_never_raise_anything_but_a_user_error(
    file: tuple[str, bytes], edits: list[tuple[int, int, bytes]]
) -> None:
    name, original = file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(mutated(original, edits))
        library = DatasetLibrary(Path(folder, "datasets"))
        try:
            facts = library.add(path)
        except UserError:
            left = list(library.root.iterdir()) if library.root.exists() else []
            assert left == []
            return
        stored = library.open(facts.name)
        assert len(list(stored)) == facts.rows
        check_rows(stored, facts.format, facts.mapping, facts.labels)
        preview(stored, None, facts.format, facts.mapping, facts.labels, 0, 5)
