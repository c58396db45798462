"""Each file of the corpus is read as it must be, or refused with its place and a remedy, and nothing stays behind."""

from pathlib import Path

import pytest

from studio.core.errors import UserError
from studio.datasets.library import DatasetLibrary
from tests.helpers.corpus import Case, cases

CASES = cases()


def test_that_the_corpus_is_large_and_no_case_is_told_twice() -> None:
    names = [case.id for case in CASES]
    assert len(names) == len(set(names))
    assert len(names) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_that_a_file_of_the_corpus_is_read_or_refused_as_it_must_be(
    case: Case, library: DatasetLibrary, tmp_path: Path
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    path = case.make(given)
    before = sorted(file.name for file in given.rglob("*"))
    if case.rows:
        facts = library.add(path, **case.options)
        assert (facts.rows, facts.format) == (case.rows, case.format)
        stored = library.open(facts.name)
        assert len(list(stored)) == case.rows
        assert {name: stored.row(0)[name] for name in case.first} == case.first
        assert sorted(file.name for file in Path(facts.path).iterdir()) == ["dataset.json", "rows.idx", "rows.jsonl"]
    else:
        with pytest.raises(UserError) as caught:
            library.add(path, **case.options)
        assert case.words in caught.value.message
        assert case.place in caught.value.where
        assert (case.place or given.name) in caught.value.where
        assert caught.value.hint
        assert not library.root.exists() or list(library.root.iterdir()) == []
    assert sorted(file.name for file in given.rglob("*")) == before, "the user's folder stays as it was"
