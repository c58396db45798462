"""LoRA against peft, its starts from the weight, and LoRA+'s two learning rates."""

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.engine.export import export_adapter
from studio.engine.flow import bare
from studio.engine.optimizer import build_optimizer, set_rate
from tests.helpers import peft_oracle as oracle
from tests.helpers import plans, tiny

NAMES = {"A": "lora_A.default.weight", "B": "lora_B.default.weight"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def peft_lora(model: Path, **options: Any) -> torch.nn.Module:
    from peft import LoraConfig

    return oracle.wrap(model, LoraConfig(r=4, lora_alpha=8, target_modules=oracle.TARGETS, **options))


def test_that_rank_eight_on_queries_and_values_of_a_7b_model_counts_as_published() -> None:
    sites = [oracle.linear(f"layers.{i}.{role}", role, 4096, 4096) for i in range(32) for role in ("q", "v")]
    assert oracle.count("lora", {"rank": 8}, sites) == 4_194_304


@pytest.mark.parametrize("rslora", [False, True])
def test_that_peft_gives_the_same_outputs_and_losses(model: Path, rslora: bool) -> None:
    attached = oracle.tune(model, "lora", {"rank": 4, "alpha": 8, "rslora": rslora})
    theirs = peft_lora(model, use_rslora=rslora)
    oracle.fill(attached)
    oracle.copy_to_peft(attached, theirs, NAMES)
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached), oracle.peft_losses(theirs))


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_that_a_start_from_the_weight_trains_as_peft_does_from_its_residual(model: Path, init: str) -> None:
    attached = oracle.tune(model, "lora", {"rank": 4, "alpha": 8, "init": init})
    theirs = peft_lora(model, init_lora_weights=init)
    for place in attached.places(0):
        layer = theirs.get_submodule(f"base_model.model.{attached.paths[place.site.path]}")
        product = layer.get_parameter(NAMES["B"]) @ layer.get_parameter(NAMES["A"])
        assert torch.allclose(place.tensors["B"] @ place.tensors["A"], product, atol=1e-6)
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached), oracle.peft_losses(theirs))


@pytest.mark.parametrize("init", ["kaiming", "gaussian", "pissa", "olora"])
def test_that_every_start_leaves_the_model_exactly_as_it_was(model: Path, init: str) -> None:
    tuned = oracle.tune(model, "lora", {"init": init}).model
    with bare(tuned):
        untuned = oracle.logits(tuned)
    assert torch.equal(oracle.logits(tuned), untuned)


def test_that_the_first_factor_of_pissa_holds_the_largest_singular_values(model: Path) -> None:
    attached = oracle.tune(model, "lora", {"rank": 4, "alpha": 8, "init": "pissa"})
    for place in attached.places(0):
        kept = torch.linalg.svdvals(2 * place.tensors["B"] @ place.tensors["A"])[:4]
        assert torch.allclose(kept, torch.linalg.svdvals(place.weight())[:4], atol=1e-5)


def test_that_a_start_from_the_weight_counts_no_more_directions_than_the_weight_has(model: Path) -> None:
    attached = oracle.tune(model, "lora", {"rank": 100, "init": "pissa"}, where="role == k")
    assert [tuple(place.tensors["A"].shape) for place in attached.places(0)] == [(16, 32), (16, 32)]


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_that_peft_loads_a_trained_pissa_as_plain_lora(model: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    params = {"rank": 4, "alpha": 8, "init": "pissa"}
    attached = oracle.tune(model, "lora", params)
    oracle.our_losses(attached)
    columns = {"prompt": "{question}", "completion": "{answer}"}
    data = tiny.make_questions(tmp_path / "q.jsonl")
    plan = plans.make_plan(model, data, tmp_path / "d", columns=columns, params=params, where=oracle.WHERE)
    folder = export_adapter(attached, plan, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), str(folder))
    assert oracle.difference(attached, theirs) < 1e-5


def test_that_b_learns_faster_by_the_ratio_of_lora_plus(model: Path) -> None:
    attached = oracle.tune(model, "lora", {"lr_ratio": 16})
    optimizer = build_optimizer(attached, learning_rate=1e-3, weight_decay=0.0)
    set_rate(optimizer, 1e-3)
    rates = {id(tensor): group["lr"] for group in optimizer.param_groups for tensor in group["params"]}
    assert {name[-1]: rates[id(tensor)] for name, tensor in attached.tensors.items()} == {"A": 1e-3, "B": 16e-3}
