"""What a hasty or hostile user can do wrong: one clear message, the right exit code, and nothing left behind."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from studio.cli.app import run
from studio.core.errors import MachineError
from studio.core.paths import import_root
from studio.rundir.launch import tail
from studio.rundir.layout import write_json
from studio.rundir.lock import is_alive
from studio.service import runs
from studio.service.start_run import create_run, start_run
from tests.e2e.conftest import kill_worker, wait_for, wait_until_ended
from tests.helpers import tiny
from tests.helpers.gguf_files import write_tiny_gguf


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


Pet = Callable[..., Answer]


@pytest.fixture
def pet(capsys: pytest.CaptureFixture[str]) -> Pet:
    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert "made a mistake" not in err, err
        return Answer(code, out, err)

    return call


def files_in(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


def refused(answer: Answer, *words: str, code: int = 2) -> None:
    """One message with these words and a remedy, on stderr alone."""
    assert answer.code == code, answer
    assert answer.out == ""
    assert answer.err.count("error:") == 1, answer.err
    for word in words:
        assert word in answer.err
    assert "\n  " in answer.err, f"no remedy: {answer.err}"


@pytest.fixture
def spec(tmp_path: Path, tiny_llama: Path, questions: Path) -> Callable[..., Path]:
    """Write a spec that is right but for these changes, each ``part__key=value``."""

    def write(**changes: Any) -> Path:
        body = tiny.questions_spec(tiny_llama, questions)
        for place, value in changes.items():
            *parts, key = place.split("__")
            holder = body
            for part in parts:
                holder = holder[part]
            holder[key] = value
        path = tmp_path / "spec.json"
        path.write_text(json.dumps(body))
        return path

    return write


FIVE_MISTAKES = """
version: 1
name: bad
modl: x
model: {source: "library:nope"}
data: {source: "path:%s", format: prompt-completion, columns: {prompt: "{questoin}", completion: answer}}
method: {placements: [{use: lorra, where: "rolle in (q)"}, {use: lora, where: "rolle in (q)", params: {rank: -1}}]}
train: {learning_rate: fast, device: "cuda:9"}
"""
THEIR_PLACES = {
    "modl": "did you mean 'model'?",
    "model.source": "library",
    "data.columns.prompt": "did you mean 'question'?",
    "method.placements.0.use": "did you mean 'lora'?",
    "method.placements.1.where": "did you mean 'role'?",
    "method.placements.1.params.rank": "methods show lora",
    "train.learning_rate": "leave the key out",
    "train.device": "known: cpu",
}


@pytest.mark.parametrize("command", ["validate", "plan", "estimate", "train"])
def test_that_every_mistake_of_a_spec_is_told_at_once(pet: Pet, tmp_path: Path, questions: Path, command: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(FIVE_MISTAKES % questions)
    answer = pet(command, path)
    assert (answer.code, answer.out) == (2, "")
    lines = answer.err.splitlines()
    for place, remedy in THEIR_PLACES.items():
        assert any(line.strip().startswith(f"{place}: ") and remedy in line for line in lines), (place, answer.err)


@pytest.mark.parametrize("command", ["validate", "plan", "estimate"])
def test_that_the_mistakes_come_as_json_too(pet: Pet, tmp_path: Path, questions: Path, command: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(FIVE_MISTAKES % questions)
    answer = pet(command, path, "--json")
    assert answer.code == 2
    problems = json.loads(answer.out)["problems"]
    assert {problem["where"] for problem in problems} >= THEIR_PLACES.keys()
    assert all(problem["message"] and problem["hint"] for problem in problems)


def test_that_a_plan_has_the_promised_fields_even_when_it_fails(pet: Pet, spec: Callable[..., Path]) -> None:
    fields = {"autos", "problems", "steps", "tokens_per_step", "trainable"}
    assert fields <= json.loads(pet("plan", spec(), "--json").out).keys()
    assert fields <= json.loads(pet("plan", spec(task="classification"), "--json").out).keys()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.yaml", b"version: 1\nname: a: b\n", "a.yaml:2:8"),
        ("a.json", b'{"name": ', "a.json:1:"),
        ("a.yaml", b"\xff\xfe\x00", "not UTF-8"),
        ("a.yaml", b"", "is empty"),
        ("a.yaml", b"- a\n", "not a mapping"),
        ("a.yaml", b'name: !!python/object/apply:os.system ["true"]\n', "a.yaml:1:7"),
        ("a.jsonl", b'{"a": 1}\n{"a": 2}\n', "is this .jsonl file something else?"),
        ("a.csv", b"a,b\n1,2\n", "is this .csv file something else?"),
    ],
)
def test_that_a_file_that_is_no_spec_is_told_with_its_place(
    pet: Pet, tmp_path: Path, studio_home: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(pet("validate", tmp_path / name), words)
    refused(pet("train", tmp_path / name), words)
    refused(pet("validate", tmp_path), "is a folder")
    assert not studio_home.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "a\x1b[31mred"}, "name: must be one line of printable characters"),
        ({"name": "two\nlines"}, "name: must be one line of printable characters"),
        ({"name": "n" * 10_000}, "name: must have at most 120 characters"),
        ({"model__trust_remote_code": True}, "model.trust_remote_code: is not a known key"),
        ({"train__trust_remote_code": True}, "train.trust_remote_code: is not a known key"),
        ({"train__seed": 10**30}, "train.seed: must be less than"),
        ({"model__source": "library:../../etc"}, "there is no model '../../etc'"),
        ({"data__source": "library:../../etc/passwd"}, "there is no dataset '../../etc/passwd'"),
        ({"data__columns__prompt": "{question.__class__}"}, "unknown column 'question.__class__'"),
    ],
)
def test_that_a_hostile_spec_is_refused(
    pet: Pet, spec: Callable[..., Path], changes: dict[str, Any], words: str
) -> None:
    answer = pet("train", spec(**changes))
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err
    assert "\x1b" not in answer.err
    assert max(map(len, answer.err.splitlines())) < 400


def test_that_a_run_name_of_markup_is_only_a_name(pet: Pet, spec: Callable[..., Path], studio_home: Path) -> None:
    name = "<img src=x onerror=alert(1)> [bold]../../'; DROP TABLE run;--"
    run_id = create_run(json.loads(spec(name=name).read_text())).id
    assert set(run_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert (studio_home / "runs" / run_id).is_dir()
    assert name in pet("runs", "list").out
    assert json.loads(pet("runs", "show", name, "--json").out)["name"] == name


BAD_DATA: list[tuple[str, bytes, str]] = [
    ("empty.csv", b"", "empty"),
    ("binary.jsonl", b"\x00\x01\x02" * 99, "binary"),
    ("torn.csv", b'a,b\n1,"x\n2,y\n', "torn.csv:2: a quoted field starts in this row and never ends"),
    ("header.csv", b"a,b\n", "no rows"),
    ("list.json", b"[]", "no rows"),
    ("line.jsonl", b'{"a":1}\n{"a":\n', "line.jsonl:2"),
    ("fake.parquet", b"PAR1" * 9, "Parquet"),
    ("pickle.csv", b"\x80\x04\x95abc", "pickle"),
    ("rows.pkl", b"\x80\x04\x95abc", "pickle"),
    ("sheet.xlsx", b"PK", "not supported"),
    ("half.jsonl", b'{"a": "\\ud800"}\n', "surrogate"),
]


@pytest.mark.parametrize(("name", "content", "words"), BAD_DATA)
def test_that_a_bad_data_file_leaves_nothing(
    pet: Pet, tmp_path: Path, studio_home: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(pet("data", "add", tmp_path / name), words)
    assert files_in(studio_home) == []


def test_that_missing_paths_and_columns_are_told(
    pet: Pet, tmp_path: Path, questions: Path, studio_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(pet("data", "add", tmp_path / "nowhere.csv"), "no such file")
    (tmp_path / "hollow").mkdir()
    refused(pet("data", "add", tmp_path / "hollow"), "no data files")
    mapped = ["--format", "prompt-completion", "--map", "prompt=nope", "--map", "completion=answer"]
    answer = pet("data", "add", questions, *mapped)
    assert (answer.code, answer.out) == (2, "")
    assert "nope" in answer.err
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **more: Any) -> Any:
        if path == questions:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)
    refused(pet("data", "add", questions), "may not be read", "permissions")
    assert files_in(studio_home) == []


@pytest.mark.parametrize("name", ["", " ", "..", "🙂", "n" * 10_000, "a\x1b[31m"])
def test_that_an_unusable_library_name_is_refused(
    pet: Pet, tiny_llama: Path, questions: Path, studio_home: Path, name: str
) -> None:
    refused(pet("data", "add", questions, "--name", name), "is no usable name")
    refused(pet("models", "add", tiny_llama, "--name", name), "is no usable name")
    assert files_in(studio_home) == []


@pytest.mark.parametrize("name", ["../../evil", "a'b\"c", "<b>bold</b>", "größe 🙂"])
def test_that_any_other_name_stays_in_the_library(
    pet: Pet, tiny_llama: Path, questions: Path, studio_home: Path, name: str
) -> None:
    assert pet("data", "add", questions, "--name", name).code == 0
    assert pet("models", "add", tiny_llama, "--name", name).code == 0
    assert json.loads(pet("data", "inspect", name, "--json").out)["name"] == name
    assert json.loads(pet("models", "list", "--json").out)[0]["name"] == name
    assert {path.parent.name for path in (studio_home / "datasets").glob("*")} == {"datasets"}
    assert sorted(path.name for path in studio_home.parent.iterdir()) == ["home", "questions.jsonl"]


def bad_models(folder: Path, good: Path) -> dict[Path, str]:
    """Models that must be refused, with the words of the refusal."""
    for name in ("pickled", "bare", "short", "garbled"):
        shutil.copytree(good, folder / name)
    (folder / "pickled" / "model.safetensors").unlink()
    (folder / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04")
    (folder / "bare" / "config.json").unlink()
    weights = folder / "short" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    (folder / "garbled" / "config.json").write_text("{")
    files = {"single.pt": b"\x80\x04", "single.bin": b"\x80\x04", "fake.gguf": b"hello", "cut.gguf": b"GGUF\3\0\0\0"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {
        folder / "pickled": "a pickle file can run code", folder / "single.pt": "a pickle can run code",
        folder / "single.bin": "a pickle can run code", folder / "bare": "no config.json",
        folder / "short": "cut short", folder / "garbled": "not valid JSON", folder / "fake.gguf": "no GGUF file",
        folder / "cut.gguf": "damaged or cut short", folder / "nowhere": "no such file or folder",
        folder / "bare" / "tokenizer.json": "is no model",
    }  # fmt: skip


def test_that_a_bad_model_leaves_nothing(
    pet: Pet, tmp_path: Path, tiny_llama: Path, studio_home: Path, spec: Callable[..., Path]
) -> None:
    for path, words in bad_models(tmp_path, tiny_llama).items():
        refused(pet("models", "add", path), words, path.name)
        assert not studio_home.exists(), path
    answer = pet("validate", spec(model__source=f"path:{tmp_path / 'pickled'}"))
    assert answer.code == 2
    assert "model.source: the weights are refused" in answer.err


def test_that_a_models_own_code_is_never_run(pet: Pet, tmp_path: Path, tiny_llama: Path, questions: Path) -> None:
    model = tmp_path / "own-code"
    shutil.copytree(tiny_llama, model)
    (model / "evil.py").write_text(f"open({str(tmp_path / 'hacked')!r}, 'w')\nclass M: pass\n")
    config = json.loads((model / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.M"}
    (model / "config.json").write_text(json.dumps(config))
    added = pet("models", "add", model)  # its architecture is one that transformers knows by itself
    assert added.code == 0
    assert "never run" in added.err
    folder = wait_until_ended(start_run(tiny.questions_spec(model, questions, max_steps=1)))
    assert runs.show_run(folder.id)["state"] == "completed", tail(folder.stderr)
    (model / "config.json").write_text(json.dumps({**config, "model_type": "evil", "architectures": ["Evil"]}))
    refused(pet("models", "add", model, "--name", "evil"), "auto_map", "does not run")
    assert not (tmp_path / "hacked").exists()


HOSTILE_ROW = {
    "question": "{answer} {{7*7}} {% for x in y %} {question.__class__} [bold]x[/bold]",
    "answer": "\x1b[31mred\x1b[0m\x07 \u202e <|im_end|> $(id)",
}


def test_that_a_hostile_row_is_shown_and_never_obeyed(pet: Pet, tmp_path: Path, tiny_llama: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(HOSTILE_ROW) + "\n")
    mapped = ["--format", "prompt-completion", "--map", "prompt={question} ?", "--map", "completion=answer"]
    assert pet("data", "add", tmp_path / "rows.jsonl", *mapped).code == 0
    shown = pet("data", "preview", "rows").out
    assert "{answer} {{7*7}} {% for x in y %} {question.__class__} [bold]x[/bold] ?" in shown
    assert r"\x1b[31mred\x1b[0m\x07 \u202e" in shown
    tokens = pet("data", "preview", "rows", "--model", f"path:{tiny_llama}").out
    assert all(line.isprintable() for line in (shown + tokens).splitlines())


def test_that_a_full_disk_is_told_and_leaves_nothing(
    pet: Pet, questions: Path, tiny_llama: Path, studio_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(pet("data", "add", questions), "the disk is full", "free some space", code=3)
    refused(pet("models", "add", tiny_llama), "no space left on device", str(studio_home / "models"), code=3)
    assert files_in(studio_home) == []
    with pytest.raises(Exception, match="No space left"):
        create_run(tiny.questions_spec(tiny_llama, write_copy(questions, monkeypatch, full)))
    assert list((studio_home / "runs").iterdir()) == []


def write_copy(questions: Path, monkeypatch: pytest.MonkeyPatch, full: Callable[[int], None]) -> Path:
    """The dataset, stored while the disk has room, so that only the run's own folder meets the full disk."""
    from studio.service.libraries import datasets

    monkeypatch.undo()
    os.environ["PET_STUDIO_HOME"] = str(questions.parent / "home")
    datasets().resolve(f"path:{questions}")
    monkeypatch.setattr(os, "fsync", full)
    return questions


def test_that_a_read_only_home_is_told(
    pet: Pet, questions: Path, tiny_llama: Path, studio_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio_home.mkdir()
    made = Path.mkdir

    def refuse(path: Path, *arguments: Any, **more: Any) -> None:
        if path.is_relative_to(studio_home):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        made(path, *arguments, **more)

    monkeypatch.setattr(Path, "mkdir", refuse)
    refused(pet("data", "add", questions), "Read-only file system", "PET_STUDIO_HOME", code=3)
    refused(pet("models", "add", tiny_llama), "read-only file system", "PET_STUDIO_HOME", code=3)
    assert files_in(studio_home) == []


def start(home: Path, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "studio", *map(str, arguments)]
    environment = {**os.environ, "PET_STUDIO_HOME": str(home)}
    return subprocess.Popen(
        command, cwd=import_root(), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_that_a_kill_while_data_is_added_leaves_what_the_next_command_clears(
    pet: Pet, tmp_path: Path, questions: Path, studio_home: Path
) -> None:
    big = tmp_path / "big.jsonl"
    big.write_text((json.dumps({"question": "is the red cat good " * 40, "answer": "yes"}) + "\n") * 100_000)
    process = start(studio_home, "data", "add", big)
    wait_for(lambda: list(studio_home.glob("datasets/.adding-*/rows.jsonl")))
    kill(process)
    assert json.loads(pet("data", "list", "--json").out) == []
    assert pet("data", "add", questions).code == 0
    assert [path.name for path in (studio_home / "datasets").iterdir()] == ["questions"]


def test_that_a_kill_while_a_model_is_converted_leaves_what_the_next_command_clears(
    pet: Pet, tmp_path: Path, studio_home: Path
) -> None:
    process = start(studio_home, "models", "add", write_tiny_gguf(tmp_path / "t.gguf"))
    wait_for(lambda: list(studio_home.glob("models/.adding-*")))
    kill(process)
    assert json.loads(pet("models", "list", "--json").out) == []
    assert pet("models", "add", tmp_path / "t.gguf").code == 0
    assert [path.name for path in (studio_home / "models").iterdir()] == ["t"]


def test_that_a_kill_right_after_launch_leaves_a_run_that_resumes(
    pet: Pet, tiny_llama: Path, questions: Path, studio_home: Path
) -> None:
    spec = tiny.questions_spec(tiny_llama, questions, max_steps=2)
    never_launched = create_run(spec)
    assert runs.show_run(never_launched.id)["state"] == "draft"
    killed = wait_for(lambda: studio_home / "runs" / start_run(spec))
    folder = type(never_launched)(killed)
    kill_worker(folder)
    assert runs.show_run(folder.id)["state"] == "crashed"
    assert pet("catalog", "check").code == 0
    for run_folder in (never_launched, folder):
        assert pet("runs", "resume", run_folder.id).code == 0
        wait_until_ended(run_folder.id)
        assert runs.show_run(run_folder.id)["state"] == "completed"
    assert list((studio_home / "runs").rglob(".*")) == []


def test_that_a_worker_that_cannot_be_put_on_record_does_not_stay(
    tiny_llama: Path, questions: Path, studio_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MachineError("cannot be written: no space left on device")

    monkeypatch.setattr("studio.rundir.launch.write_json", full)
    with pytest.raises(MachineError):
        start_run(tiny.questions_spec(tiny_llama, questions))
    (folder,) = (studio_home / "runs").iterdir()
    assert not is_alive(folder)


def test_that_what_a_kill_left_of_run_folders_is_swept_in_time(
    tiny_llama: Path, questions: Path, studio_home: Path
) -> None:
    for name in (".new-old", ".deleted-old", ".new-now"):
        (studio_home / "runs" / name).mkdir(parents=True)
    for name in (".new-old", ".deleted-old"):
        os.utime(studio_home / "runs" / name, (0, 0))
    run_id = create_run(tiny.questions_spec(tiny_llama, questions)).id
    assert sorted(path.name for path in (studio_home / "runs").iterdir()) == [".new-now", run_id]
    runs.refresh()
    assert [row.id for row in runs.list_runs()] == [run_id]


def test_that_edits_at_the_same_moment_are_all_kept(pet: Pet, tiny_llama: Path, questions: Path) -> None:
    run_id = create_run(tiny.questions_spec(tiny_llama, questions)).id
    runs.refresh()
    threads = [threading.Thread(target=runs.tag, args=(run_id, f"tag{number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(runs.show_run(run_id)["tags"]) == [f"tag{number}" for number in range(8)]


def test_that_threads_may_write_one_file_at_the_same_moment(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for _ in range(20):
                write_json(tmp_path / "x.json", {"number": number})
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["x.json"]
