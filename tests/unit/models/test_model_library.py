"""The model library: adding, finding, removing, and what a crash or a cancel leaves behind."""

import json
import os
from pathlib import Path

import pytest

from studio.core.errors import Cancelled, UserError
from studio.models.entry import RECORD, slug_of
from studio.models.library import ModelLibrary
from tests.helpers.weights import write_llama


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_llama(tmp_path / "source" / "Tiny LLaMA")


def test_that_a_folder_is_used_where_it_lies(library: ModelLibrary, folder: Path) -> None:
    facts = library.add(folder, license="mit")
    assert (facts.name, facts.path, facts.license) == ("Tiny LLaMA", str(folder), "mit")
    assert library.list() == [facts]
    assert library.get("tiny llama") == facts
    assert os.listdir(library.root / "tiny-llama") == [RECORD]


def test_that_a_copy_holds_links_to_the_weights_and_leaves_code_and_pickles(
    library: ModelLibrary, folder: Path
) -> None:
    for name in ("pytorch_model.bin", "modeling.py", "notes.txt"):
        (folder / name).write_text("x")
    facts = library.add(folder, name="copy", copy=True)
    kept = Path(facts.path)
    assert kept == library.root / "copy"
    assert set(os.listdir(kept)) == {"config.json", "model.safetensors", "tokenizer.json", RECORD}
    assert (kept / "model.safetensors").samefile(folder / "model.safetensors")
    assert not (kept / "config.json").samefile(folder / "config.json")


def test_that_a_moved_home_keeps_its_models(library: ModelLibrary, folder: Path, tmp_path: Path) -> None:
    library.add(folder, name="copy", copy=True)
    moved = library.root.rename(tmp_path / "elsewhere")
    assert ModelLibrary(moved).resolve("library:copy").path == str(moved / "copy")


def test_that_removing_never_touches_a_referenced_folder(library: ModelLibrary, folder: Path) -> None:
    library.add(folder, name="a")
    library.add(folder, name="b", copy=True)
    before = sorted(os.listdir(folder))
    library.remove("a")
    library.remove("b")
    assert library.list() == []
    assert os.listdir(library.root) == []
    assert sorted(os.listdir(folder)) == before


def test_that_a_snapshot_of_the_hubs_cache_is_called_after_its_repository(
    library: ModelLibrary, tmp_path: Path
) -> None:
    snapshot = write_llama(tmp_path / "models--org--Tiny-1" / "snapshots" / "0123abcd")
    assert library.add(snapshot).name == "Tiny-1"


def test_that_adding_the_same_model_again_changes_nothing(library: ModelLibrary, folder: Path) -> None:
    assert library.add(folder) == library.add(folder)


def test_that_a_taken_name_is_refused(library: ModelLibrary, folder: Path, tmp_path: Path) -> None:
    library.add(folder, name="a")
    with pytest.raises(UserError, match="already has a model 'a'"):
        library.add(write_llama(tmp_path / "other", fill=3), name="a")


def test_that_a_cancelled_copy_leaves_nothing(
    library: ModelLibrary, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", no_link)
    with pytest.raises(Cancelled):
        library.add(folder, name="a", copy=True, cancelled=lambda: True)
    assert os.listdir(library.root) == []


def test_that_a_copy_across_disks_is_complete(
    library: ModelLibrary, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", no_link)
    facts = library.add(folder, name="a", copy=True)
    assert (Path(facts.path) / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_that_the_leavings_of_a_crash_are_swept_up(library: ModelLibrary, folder: Path) -> None:
    dead, alive = library.root / ".adding-999999999-aa", library.root / f".adding-{os.getpid()}-bb"
    for left in (dead, alive, library.root / ".removing-cc"):
        left.mkdir(parents=True)
    library.add(folder)
    assert sorted(os.listdir(library.root)) == [alive.name, "tiny-llama"]


def test_that_a_damaged_record_is_reported_and_harms_no_other(library: ModelLibrary, folder: Path) -> None:
    library.add(folder, name="good")
    for name, text in (("bad", "{"), ("worse", "{}"), ("empty", None)):
        (library.root / name).mkdir()
        if text is not None:
            (library.root / name / RECORD).write_text(text)
    assert [facts.name for facts in library.list()] == ["good"]
    assert [problem.where for problem in library.problems()] == ["library:bad", "library:empty", "library:worse"]
    for name in ("bad", "worse", "empty"):
        library.remove(name)
    assert library.problems() == ()


def test_that_a_newer_record_is_still_read(library: ModelLibrary, folder: Path) -> None:
    library.add(folder, name="a")
    file = library.root / "a" / RECORD
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "version": 2, "shiny": True}))
    assert library.get("a").name == "a"


def test_that_a_model_whose_files_are_gone_is_reported(library: ModelLibrary, folder: Path) -> None:
    library.add(folder, name="a")
    folder.rename(folder.with_name("moved"))
    assert [problem.severity for problem in library.problems()] == ["error"]
    with pytest.raises(UserError, match="files of 'a' are gone"):
        library.resolve("library:a")


def test_that_a_missing_tokenizer_is_a_warning(library: ModelLibrary, tmp_path: Path) -> None:
    library.add(write_llama(tmp_path / "m", tokenizer=False))
    (problem,) = library.problems()
    assert problem.severity == "warning"
    assert "tokenizer.json" in problem.message


def test_that_an_unknown_name_suggests_a_close_one(library: ModelLibrary, folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        library.get("tiny")
    assert "empty" in caught.value.hint
    library.add(folder)
    with pytest.raises(UserError) as caught:
        library.get("Tiny LLaMa 2")
    assert "Tiny LLaMA" in caught.value.hint
    with pytest.raises(UserError):
        library.remove("other")


def test_that_sources_are_resolved_by_their_scheme(library: ModelLibrary, folder: Path, tmp_path: Path) -> None:
    library.add(folder, name="a")
    assert library.resolve("library:a").path == str(folder)
    assert library.resolve(f"path:{folder}").name == "Tiny LLaMA"
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF")
    for source, words in (
        (f"path:{gguf}", "converted once"),
        ("path:/nowhere", "no such file"),
        ("hub:org/name@main", "has not been downloaded"),
        ("ftp:x", "names no model"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            library.resolve(source)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("SmolLM2-135M-Instruct", "smollm2-135m-instruct"),
        ("Ärger & Co", "arger-co"),
        ("../../etc", "etc"),
        ("a.b_c", "a.b_c"),
    ],
)
def test_that_a_slug_is_a_safe_folder_name(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def test_that_a_name_without_letters_is_refused() -> None:
    with pytest.raises(UserError, match="no usable name"):
        slug_of("../..")
