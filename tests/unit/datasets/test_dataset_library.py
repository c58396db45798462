"""The library: adding, finding, changing and removing datasets, and what is left when it goes wrong."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.errors import Cancelled, InvalidSpecError, MachineError, UserError
from studio.core.paths import import_root
from studio.datasets import ingest as ingest_module
from studio.datasets.library import DatasetLibrary
from studio.datasets.store import StoredDataset

Write = Callable[..., Path]
ROWS: list[dict[str, Any]] = [{"prompt": f"p{i}", "completion": f"ä{i}"} for i in range(25)]


def left_behind(library: DatasetLibrary) -> list[str]:
    return sorted(path.name for path in library.root.iterdir()) if library.root.exists() else []


def test_that_an_added_dataset_has_its_facts_and_rows(library: DatasetLibrary, write: Write) -> None:
    path = write("My Data.jsonl", ROWS)
    facts = library.add(path, license="MIT", source="me")
    assert (facts.name, facts.rows, facts.columns) == ("My Data", 25, ("prompt", "completion"))
    assert (facts.format, facts.mapping) == ("prompt-completion", {"prompt": "prompt", "completion": "completion"})
    assert (facts.license, facts.source, facts.path) == ("MIT", "me", str(library.root / "my-data"))
    stored = StoredDataset(Path(facts.path))
    assert stored.facts == facts == library.get("My Data") == library.get("my-data")
    assert len(stored) == 25
    assert stored.row(24) == ROWS[24]
    assert stored.rows(20, 99) == ROWS[20:]
    assert stored.rows(-5, 2) == ROWS[:2]
    assert stored.rows(5, 5) == []
    assert list(stored) == ROWS
    assert stored.detected.confidence > 0.9
    assert path.read_text().startswith('{"prompt"'), "the original stays as it is"


def test_that_the_files_are_what_the_contract_says(library: DatasetLibrary, write: Write) -> None:
    facts = library.add(write("a.jsonl", ROWS))
    folder = Path(facts.path)
    assert left_behind(library) == ["a"]
    assert sorted(path.name for path in folder.iterdir()) == ["dataset.json", "rows.idx", "rows.jsonl"]
    content = (folder / "rows.jsonl").read_bytes()
    offsets = np.fromfile(folder / "rows.idx", dtype="<u8")
    assert [json.loads(content[start:].splitlines()[0]) for start in offsets] == ROWS
    assert facts.fingerprint == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("index", [-1, 25])
def test_that_a_row_outside_is_an_index_error(library: DatasetLibrary, write: Write, index: int) -> None:
    stored = StoredDataset(Path(library.add(write("a.jsonl", ROWS)).path))
    with pytest.raises(IndexError):
        stored.row(index)


def test_that_adding_the_same_again_changes_nothing_and_other_rows_need_another_name(
    library: DatasetLibrary, write: Write
) -> None:
    first = library.add(write("a.jsonl", ROWS))
    assert library.add(write("a.jsonl", ROWS)) == first
    with pytest.raises(UserError, match="already has a dataset 'a'") as caught:
        library.add(write("a.jsonl", ROWS[:3]))
    assert "another name" in caught.value.hint
    assert left_behind(library) == ["a"]


@pytest.mark.parametrize("name", ["", "  ", "///", "日本", "x" * 81])
def test_that_names_without_letters_are_refused(library: DatasetLibrary, write: Write, name: str) -> None:
    with pytest.raises(UserError, match="no usable name"):
        library.add(write("a.jsonl", ROWS), name=name)
    assert left_behind(library) == []


def test_that_a_name_cannot_leave_the_library(library: DatasetLibrary, write: Write) -> None:
    facts = library.add(write("a.jsonl", ROWS), name="../../etc/Ünïx")
    assert Path(facts.path) == library.root / "etc-unix"
    with pytest.raises(UserError):
        library.get("..")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "a.txt"])
def test_that_a_bad_file_leaves_nothing_behind(library: DatasetLibrary, write: Write, name: str) -> None:
    with pytest.raises(UserError):
        library.add(write(name, b'{"a": 1}\n\xff'))
    assert left_behind(library) == []


def test_that_a_file_without_rows_is_refused(library: DatasetLibrary, write: Write) -> None:
    for name, content in (("a.csv", "a,b\n"), ("a.jsonl", "\n\n"), ("a.json", "[]"), ("a.txt", " \n")):
        with pytest.raises(UserError, match="no rows"):
            library.add(write(name, content))
    assert left_behind(library) == []


def test_that_half_a_character_is_named_with_its_row(library: DatasetLibrary, write: Write) -> None:
    with pytest.raises(UserError, match="half of a character") as caught:
        library.add(write("a.jsonl", '{"text": "ok"}\n{"text": "\\ud800"}\n'))
    assert caught.value.where == "a.jsonl: row 2"


def test_that_numbers_beyond_all_bounds_become_missing(library: DatasetLibrary, write: Write) -> None:
    facts = library.add(write("a.jsonl", '{"text": "t", "n": [1e999, {"x": -1e999}], "m": 1e999}\n'))
    assert StoredDataset(Path(facts.path)).row(0) == {"text": "t", "n": [None, {"x": None}], "m": None}


def test_that_cancelling_leaves_nothing_behind(library: DatasetLibrary, write: Write) -> None:
    asked = iter([False, True])
    rows = ROWS * 100
    with pytest.raises(Cancelled):
        library.add(write("a.jsonl", rows), cancelled=lambda: next(asked))
    assert left_behind(library) == []


def test_that_progress_runs_from_start_to_end(library: DatasetLibrary, write: Write) -> None:
    seen: list[tuple[str, float | None]] = []
    library.add(write("a.jsonl", ROWS * 100), progress=lambda phase, done: seen.append((phase, done)))
    fractions = [done for _phase, done in seen if done is not None]
    assert fractions == sorted(fractions)
    assert seen[-1] == ("reading rows", 1.0)


def test_that_a_full_disk_is_said_with_the_free_space(
    library: DatasetLibrary, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ingest_module, "_sync", full)
    with pytest.raises(MachineError, match=r"the disk is full: .* free"):
        library.add(write("a.jsonl", ROWS))
    assert left_behind(library) == []


def test_that_leftovers_of_a_kill_are_swept_up_but_work_in_progress_is_not(
    library: DatasetLibrary, write: Write
) -> None:
    old, running, removed = (library.root / name for name in (".adding-old", ".adding-now", ".removed-x"))
    for folder in (old, running, removed):
        folder.mkdir(parents=True)
        (folder / "rows.jsonl").write_text("{}")
    hours_ago = time.time() - 7200
    for path in (old / "rows.jsonl", old):
        os.utime(path, (hours_ago, hours_ago))
    library.add(write("a.jsonl", ROWS))
    assert left_behind(library) == [".adding-now", "a"]
    assert [facts.name for facts in library.list()] == ["a"]


def test_that_a_damaged_entry_does_not_hide_the_others(library: DatasetLibrary, write: Write) -> None:
    library.add(write("b.jsonl", ROWS))
    library.add(write("a.jsonl", ROWS))
    (library.root / "a" / "dataset.json").write_text("{")
    (library.root / "empty").mkdir()
    assert [facts.name for facts in library.list()] == ["b"]
    assert [Path(problem.where).name for problem in library.problems()] == ["a", "empty"]
    with pytest.raises(UserError, match="damaged"):
        library.get("a")


def test_that_rows_that_do_not_fit_their_index_are_noticed(library: DatasetLibrary, write: Write) -> None:
    folder = Path(library.add(write("a.jsonl", ROWS)).path)
    whole = (folder / "rows.jsonl").read_bytes()
    (folder / "rows.jsonl").write_bytes(whole[:50])
    with pytest.raises(UserError, match="does not fit"):
        StoredDataset(folder)
    (folder / "rows.jsonl").write_bytes(whole.replace(b"{", b"[", 1))
    with pytest.raises(UserError, match="row 1 is"):
        StoredDataset(folder).row(0)
    (folder / "rows.idx").unlink()
    with pytest.raises(UserError, match="damaged"):
        StoredDataset(folder)
    with pytest.raises(UserError, match="no dataset in this folder"):
        StoredDataset(folder.parent)


def test_that_an_unknown_name_gets_a_suggestion(library: DatasetLibrary, write: Write) -> None:
    with pytest.raises(UserError) as caught:
        library.get("boolq")
    assert "the library is empty" in caught.value.hint
    library.add(write("boolq.jsonl", ROWS))
    with pytest.raises(UserError) as caught:
        library.get("bolq")
    assert caught.value.hint == "did you mean 'boolq'?"


def test_that_removing_takes_the_rows_along(library: DatasetLibrary, write: Write) -> None:
    library.add(write("a.jsonl", ROWS))
    library.remove("a")
    assert left_behind(library) == []
    with pytest.raises(UserError):
        library.remove("a")


CLASSES = [{"body": f"text {i}", "kind": ("no", "yes")[i % 2], "n": str(i % 3)} for i in range(40)]


def test_that_labels_are_kept_sorted_and_follow_the_mapping(library: DatasetLibrary, write: Write) -> None:
    facts = library.add(write("a.jsonl", CLASSES), format="classification", mapping={"text": "body", "label": "kind"})
    assert facts.labels == ("no", "yes")
    changed = library.update("a", mapping={"text": "body", "label": "n"})
    assert (changed.format, changed.labels) == ("classification", ("0", "1", "2"))
    assert library.get("a") == changed
    texts = library.update("a", format="text")
    assert (texts.format, texts.mapping, texts.labels) == ("text", {"text": "body"}, ())
    assert texts.fingerprint == facts.fingerprint


def test_that_the_format_follows_from_the_roles(library: DatasetLibrary, write: Write) -> None:
    facts = library.add(write("a.jsonl", CLASSES), mapping={"prompt": "{body}?", "completion": "kind"})
    assert facts.format == "prompt-completion"
    with pytest.raises(UserError, match="fit no format"):
        library.update("a", mapping={"prompt": "body"})


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"format": "alpaka"}, UserError),
        ({"format": "alpaca"}, UserError),
        ({"format": "text", "mapping": {"text": "boddy"}}, InvalidSpecError),
        ({"format": "classification", "mapping": {"text": "body", "label": "{kind}"}}, InvalidSpecError),
        ({"format": "classification", "mapping": {"text": "body", "label": "knd"}}, InvalidSpecError),
    ],
)
def test_that_wrong_words_leave_nothing_behind(
    library: DatasetLibrary, write: Write, options: dict[str, Any], error: type[UserError]
) -> None:
    with pytest.raises(error):
        library.add(write("a.jsonl", CLASSES), **options)
    assert left_behind(library) == []


def test_that_a_wrong_update_changes_nothing(library: DatasetLibrary, write: Write) -> None:
    facts = library.add(write("a.jsonl", CLASSES))
    with pytest.raises(InvalidSpecError):
        library.update("a", format="text", mapping={"text": "nope"})
    assert library.get("a") == facts


def test_that_rows_without_an_answer_can_be_left_out(library: DatasetLibrary, write: Write) -> None:
    rows = [{"prompt": "p", "completion": None if i % 3 else str(i)} for i in range(9)]
    facts = library.add(write("a.jsonl", rows), leave_out_unusable=True)
    assert facts.rows == 3
    assert [row["completion"] for row in library.open("a")] == ["0", "3", "6"]
    assert left_behind(library) == ["a"]
    with pytest.raises(UserError, match="no rows"):
        library.add(write("b.jsonl", [{"prompt": "p", "completion": " "}]), leave_out_unusable=True)
    assert left_behind(library) == ["a"]


def test_that_a_path_is_read_once_and_again_when_it_changes(library: DatasetLibrary, write: Write) -> None:
    path = write("data.jsonl", ROWS)
    first = library.resolve(f"path:{path}")
    assert first.name.startswith("data-")
    assert library.resolve(f"path:{path}") == first
    write("data.jsonl", ROWS[:3])
    second = library.resolve(f"path:{path}")
    assert (second.rows, second.name != first.name) == (3, True)
    assert library.resolve(f"path:{first.path}") == first, "a stored dataset's own folder is itself"


def test_that_sources_are_found_by_their_scheme(library: DatasetLibrary, write: Write) -> None:
    facts = library.add(write("a.jsonl", ROWS), source="hub:org/a")
    assert library.resolve("library:a") == facts
    assert library.resolve("hub:org/a") == facts
    with pytest.raises(UserError, match="not in the library"):
        library.resolve("hub:org/b")
    with pytest.raises(UserError, match="no data source"):
        library.resolve("http://x")


def test_that_sixteen_thousand_rows_take_well_under_three_seconds(library: DatasetLibrary, write: Write) -> None:
    rows = [{"question": f"is it {i}", "passage": "word " * 120, "label": bool(i % 2)} for i in range(16_000)]
    path = write("big.jsonl", rows)
    started = time.process_time()
    facts = library.add(path)
    assert facts.rows == 16_000
    assert time.process_time() - started < 2.0


KILLED = """
import os, signal, sys
from pathlib import Path
from studio.datasets import {module}

def die(*_args, **_more):
    os.kill(os.getpid(), signal.SIGKILL)

{module}.{name} = die
from studio.datasets.library import DatasetLibrary
DatasetLibrary(Path(sys.argv[1])).add(Path(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(("module", "name"), [("ingest", "_sync"), ("library", "write_record"), ("library", "slug")])
def test_that_a_kill_while_adding_leaves_no_dataset_and_adding_again_succeeds(
    library: DatasetLibrary, write: Write, module: str, name: str
) -> None:
    path = write("a.jsonl", ROWS)
    code = KILLED.format(module=module, name=name)
    environment = {**os.environ, "PYTHONPATH": str(import_root())}
    child = subprocess.run([sys.executable, "-c", code, str(library.root), str(path)], check=False, env=environment)
    assert child.returncode == -signal.SIGKILL
    assert left_behind(library) != [], "it was killed half-way"
    assert library.list() == []
    assert library.problems() == []
    assert library.add(path).rows == len(ROWS)


def test_that_the_disk_refusing_is_a_machine_error(tmp_path: Path, write: Write) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MachineError, match="the disk refuses"):
        DatasetLibrary(tmp_path / "file").add(write("a.jsonl", ROWS))


def test_that_of_two_processes_adding_the_same_both_get_the_dataset(
    library: DatasetLibrary, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("a.jsonl", ROWS)
    rename = Path.rename

    def slow_rename(folder: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        library.add(path)  # the other process, while this one is about to publish
        return rename(folder, target)

    monkeypatch.setattr(Path, "rename", slow_rename)
    assert library.add(path).rows == len(ROWS)
    assert left_behind(library) == ["a"]
