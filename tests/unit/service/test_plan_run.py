"""From spec to plan: all problems at once, every auto with its reason, nothing left behind."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import InvalidSpecError
from studio.core.facts import DeviceFacts, LengthFacts
from studio.service import resolve
from studio.service.methods import count, list_methods, method_errors
from studio.service.plan_run import plan_run
from studio.service.start_run import create_run, new_run_id
from studio.service.validate_spec import validate
from tests.helpers import families, tiny

GPU = DeviceFacts(
    id="cuda:0", name="NVIDIA H100", kind="cuda", total_bytes=80 * 2**30, free_bytes=79 * 2**30,
    compute_capability=(9, 0), bf16=True, power_limit_w=700,
)  # fmt: skip
OLD_GPU = GPU.model_copy(update={"name": "Tesla T4", "bf16": False, "compute_capability": (7, 5)})
CPU = DeviceFacts(id="cpu", name="CPU", kind="cpu", total_bytes=24 * 2**30, free_bytes=20 * 2**30, cores=2, bf16=False)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def spec(llama: Path, tmp_path: Path) -> dict[str, Any]:
    return tiny.questions_spec(llama, tiny.make_questions(tmp_path / "questions.jsonl"))


def test_that_five_mistakes_of_every_kind_are_reported_together(spec: dict[str, Any], studio_home: Path) -> None:
    spec["model"]["source"] = "library:nowhere"
    spec["data"]["columns"]["prompt"] = "{questoin}"
    spec["method"]["placements"] = [{"use": "lora", "params": {"rnk": 4}}, {"use": "lroa"}]
    spec["train"]["learning_rat"] = 1
    checked = validate(spec)
    assert checked.spec is None
    places = {problem.where: problem for problem in checked.problems}
    assert {
        "model.source", "data.columns.prompt", "method.placements.0.params.rnk", "method.placements.1.use",
        "train.learning_rat",
    } <= set(places)  # fmt: skip
    assert all(problem.hint for problem in checked.problems)
    assert not (studio_home / "runs").exists()


def test_that_a_plan_records_the_day_that_chat_templates_see(spec: dict[str, Any]) -> None:
    plan = plan_run(spec).plan
    assert plan is not None
    assert abs(date.fromisoformat(plan.date) - datetime.now().astimezone().date()) <= timedelta(days=1)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("data.max_length", 4096, "data.max_length"),
        ("train.device", "cuda:7", "train.device"),
        ("train.precision", "fp16", "train.precision"),
        ("train.micro_batch", 3, "train.micro_batch"),
        ("data.split", {"eval": 60}, "data.split.eval"),
        ("data.format", "classification", "data.format"),
        ("method.placements", [{"use": "bitfit"}], "method.placements.0.where"),
        ("method.placements", [{"use": "lora", "where": "role == qq"}], "method.placements.0.where"),
        ("method.placements", [{"use": "lora", "where": "__import__('os')"}], "method.placements.0.where"),
        ("method.budget", 3, "method.budget"),
        ("task", "classification", "data.format"),
    ],
)
def test_that_what_cannot_work_is_refused_at_its_place(
    spec: dict[str, Any], path: str, value: object, where: str
) -> None:
    *holders, last = path.split(".")
    part = spec
    for key in holders:
        part = part[key]
    part[last] = value
    planned = plan_run(spec, devices=[CPU])
    assert planned.plan is None
    assert where in {problem.where for problem in planned.problems}


def test_that_every_auto_of_the_spec_has_a_value_and_a_reason(spec: dict[str, Any]) -> None:
    spec["train"] = {"max_steps": 8, "effective_batch": 8}
    del spec["data"]["max_length"]
    plan = plan_run(spec, devices=[CPU]).plan
    assert plan is not None
    reasons = {auto.field: auto.reason for auto in plan.autos}
    assert set(reasons) == {
        "train.device", "train.precision", "train.micro_batch", "train.checkpointing", "train.packing",
        "train.learning_rate", "train.eval_every", "train.save_every", "data.max_length", "attention",
    }  # fmt: skip
    assert all(reasons.values())
    assert (plan.precision, plan.device, plan.learning_rate) == ("fp32", "cpu", 2e-4)


@pytest.mark.parametrize(("mean", "rows"), [(4.0, 16), (60.0, 8), (122.0, 4), (270.0, 2), (900.0, 1)])
def test_that_a_cpu_takes_as_many_rows_at_once_as_keep_it_busy(
    spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch, mean: float, rows: int
) -> None:
    lengths = LengthFacts(
        sampled=36, mean=mean, p50=int(mean), p95=int(mean), longest=int(mean), trained=1.0, truncated=0,
        max_length=1024,
    )  # fmt: skip
    monkeypatch.setattr("studio.service.plan_run.lengths_of", lambda _: lengths)
    spec["train"] = {"max_steps": 8, "effective_batch": 16}
    plan = plan_run(spec, devices=[CPU]).plan
    assert plan is not None
    assert (plan.micro_batch, plan.accumulation, plan.packing) == (rows, 16 // rows, True)


@pytest.mark.parametrize(
    ("use", "where", "device", "why"),
    [
        ("prefix-tuning", "kind == attention", CPU, "rows of like length"),
        ("prompt-tuning", "kind == model", CPU, "prompt-tuning needs rows apart"),
        ("lora", None, GPU, "rows of like length"),
    ],
)
def test_that_rows_are_packed_where_each_is_attended_to_on_its_own(
    spec: dict[str, Any], use: str, where: str | None, device: DeviceFacts, why: str
) -> None:
    spec["method"] = {"placements": [{"use": use, "where": where}]}
    spec["train"] = {"max_steps": 8, "effective_batch": 16, "device": device.id}
    plan = plan_run(spec, devices=[CPU] if device is CPU else [CPU, device]).plan
    assert plan is not None
    (reason,) = (auto.reason for auto in plan.autos if auto.field == "train.packing")
    assert (plan.packing, reason.startswith(why)) == (False, True)


@pytest.mark.parametrize(("gpu", "precision"), [(GPU, "bf16"), (OLD_GPU, "fp16")])
def test_that_a_gpu_is_taken_and_its_best_precision_chosen(
    spec: dict[str, Any], gpu: DeviceFacts, precision: str
) -> None:
    plan = plan_run(spec, devices=[CPU, gpu]).plan
    assert plan is not None
    assert (plan.device, plan.precision) == ("cuda:0", precision)


def test_that_a_plan_counts_what_the_method_declares(spec: dict[str, Any]) -> None:
    plan = plan_run(spec, devices=[CPU]).plan
    assert plan is not None
    # rank 4 on q, k, v, o, gate, up, down of two layers: d 32, kv 16, intermediate 64
    per_layer = 4 * ((32 + 32) + 2 * (32 + 16) + (32 + 32) + 2 * (32 + 64) + (64 + 32))
    assert plan.trainable == 2 * per_layer
    assert plan.steps == 8


def test_that_a_classification_plan_counts_its_head(bert: Path, tmp_path: Path) -> None:
    data = tiny.make_reviews(tmp_path / "reviews.csv")
    raw = {
        "task": "classification",
        "model": {"source": f"path:{bert}"},
        "data": {"source": f"path:{data}", "split": {"eval": 10}},
        "method": {"placements": [{"use": "bitfit"}]},
        "train": {"epochs": 2},
    }
    planned = plan_run(raw, devices=[CPU])
    assert planned.plan is not None, planned.problems
    assert planned.plan.labels == ("neg", "pos")
    assert planned.plan.trainable == planned.plan.placements[0].trainable + 2 * 32 + 2
    assert planned.plan.steps == -(-2 * 50 // 16)


def test_that_a_budget_sizes_the_method(spec: dict[str, Any]) -> None:
    spec["method"]["budget"] = 3000
    plan = plan_run(spec, devices=[CPU]).plan
    assert plan is not None
    assert plan.trainable <= 3000
    assert plan.placements[0].params["rank"] == 2


def test_that_a_limit_that_would_be_exceeded_is_a_warning(spec: dict[str, Any]) -> None:
    spec["limits"] = {"hours": 1e-9}
    planned = plan_run(spec, devices=[CPU])
    assert planned.plan is not None
    assert [(p.where, p.severity) for p in planned.problems] == [("limits.hours", "warning")]


def test_that_a_wrong_spec_creates_no_folder(spec: dict[str, Any], studio_home: Path) -> None:
    spec["train"]["epochs"] = -1
    with pytest.raises(InvalidSpecError) as caught:
        create_run(spec)
    assert [problem.where for problem in caught.value.problems] == ["train.epochs"]
    assert not (studio_home / "runs").exists()


def test_that_a_run_folder_holds_spec_plan_and_estimate(spec: dict[str, Any]) -> None:
    folder = create_run(spec)
    assert json.loads(folder.spec.read_text())["train"]["learning_rate"] == 1e-2
    assert json.loads(folder.plan.read_text())["steps"] == 8
    assert json.loads(folder.estimate.read_text())["basis"] == "formula"


def test_that_run_ids_are_safe_folder_names() -> None:
    assert new_run_id("../..\\ Käse & 'x'; rm -rf").split("-", 2)[2].replace("-", "").isalnum()
    assert new_run_id("***")[16:20] == "run-"


def test_that_a_count_is_what_a_plan_trains(spec: dict[str, Any], llama: Path) -> None:
    plan = plan_run(spec, devices=[CPU]).plan
    assert plan is not None
    counted = count(f"path:{llama}", "lora", {"rank": 4, "alpha": 8})
    assert counted.trainable == plan.trainable
    assert counted.total == plan.total
    assert counted.tensors == 28


def test_that_methods_are_listed_with_their_forms() -> None:
    listed = {info.id: info for info in list_methods()}
    assert {"lora", "bitfit", "full"} <= set(listed)
    assert listed["lora"].params_schema["properties"]["rank"]["ui"]["label"] == "Rank"
    assert method_errors() == []


@pytest.mark.parametrize(("train", "planned"), [({}, "halve"), ({"on_oom": "stop"}, "stop")])
def test_that_the_plan_knows_what_to_do_when_memory_runs_out(
    spec: dict[str, Any], train: dict[str, str], planned: str
) -> None:
    spec["train"] |= train
    plan = plan_run(spec, devices=[CPU]).plan
    assert plan is not None
    assert plan.on_oom == planned


def test_that_a_packed_base_is_planned_foreseen_and_refused_where_it_cannot_be(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = plan_run(spec, devices=[CPU])
    spec["train"]["quantization"] = "nf4"
    packed = plan_run(spec, devices=[CPU])
    assert packed.plan is not None
    assert packed.plan.quantization == "nf4"
    assert full.estimate is not None
    assert packed.estimate is not None
    assert packed.estimate.memory.parts.weights < full.estimate.memory.parts.weights
    spec["method"]["placements"].append({"use": "full", "where": "role == q"})
    monkeypatch.setattr(resolve, "find_spec", lambda _: None)
    assert plan_run(spec, devices=[CPU]).plan is None
    assert [problem.message for problem in validate(spec).problems] == [
        "nf4 needs bitsandbytes, which is not installed", "full trains matrices that nf4 would hold packed",
    ]  # fmt: skip
    spec["model"]["source"] = f"path:{families.make('gpt2', tmp_path / 'gpt2')}"
    spec["method"]["placements"] = [{"use": "lora"}]
    spec["train"]["quantization"] = "int8"
    (problem,) = validate(spec).problems
    assert (problem.where, "no matrices" in problem.message) == ("train.quantization", True)
