"""An adapter that peft made, or we did, goes on as a run: same placements, same logits."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from studio.core.errors import InvalidSpecError, UserError
from studio.core.plan import Plan
from studio.core.spec import MethodSpec
from studio.engine.build import load_base
from studio.engine.export import export_adapter
from studio.engine.session import Session, open_session
from studio.engine.telemetry import Telemetry
from studio.models.sites import find_sites
from studio.models.where import select
from studio.service.adopt import adopt, where_of
from tests.helpers import plans, tiny

OpenTelemetry = Callable[[Path], Telemetry]
IDS = torch.tensor([[5, 9, 11, 7, 30, 12]])


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("model") / "llama")


def make_adapter(llama: Path, folder: Path, config: Any) -> Tensor:
    """An adapter folder with every tensor moved from its start; peft's logits with it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel(AutoModelForCausalLM.from_pretrained(llama), config)
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(str(folder), save_embedding_layers=False)
    return logits(model.eval())


def logits(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        out: Tensor = model(input_ids=IDS, use_cache=False).logits
    return out


def plan_of(llama: Path, root: Path, spec: MethodSpec) -> Plan:
    data = tiny.make_questions(root / "q.jsonl")
    parts = [
        plans.make_plan(
            llama, data, root / f"library{i}", columns={"prompt": "{question}", "completion": "{answer}"},
            use=each.use, params=each.params, where=each.where, start=str(spec.start).removeprefix("path:"),
        )
        for i, each in enumerate(spec.placements)
    ]  # fmt: skip
    placements = tuple(part.placements[0] for part in parts)
    return parts[0].model_copy(update={"placements": placements, "trainable": sum(p.trainable for p in placements)})


def start(plan: Plan, root: Path, open_telemetry: OpenTelemetry) -> Session:
    session = open_session(plan, root / "checkpoints", open_telemetry(root))
    session.model.eval()
    return session


def configs() -> dict[str, Any]:
    import peft

    names = ["q_proj", "v_proj"]
    return {
        "lora": lambda: peft.LoraConfig(target_modules=names, r=4, lora_alpha=6),
        "rslora": lambda: peft.LoraConfig(target_modules=["q_proj"], layers_to_transform=[1], use_rslora=True),
        "ranks": lambda: peft.LoraConfig(
            target_modules=[*names, "down_proj"], r=4, rank_pattern={"v_proj": 2}, alpha_pattern={"down_proj": 3}
        ),
        "dora": lambda: peft.LoraConfig(target_modules=names, r=4, use_dora=True),
        "loha": lambda: peft.LoHaConfig(target_modules=[*names, "up_proj"], r=3, alpha=5),
        "vera": lambda: peft.VeraConfig(target_modules=["q_proj", "up_proj"], r=8, projection_prng_key=7),
        "waveft": lambda: peft.WaveFTConfig(target_modules=["gate_proj"], n_frequency=30, random_loc_seed=3),
        "tinylora": lambda: peft.TinyLoraConfig(target_modules=names, u=8, weight_tying=0.5),
    }


@pytest.mark.parametrize("name", ["lora", "rslora", "ranks", "dora", "loha", "vera", "waveft", "tinylora"])
def test_that_a_run_started_from_an_adapter_of_pefts_answers_as_peft_does(
    name: str, llama: Path, tmp_path: Path, open_telemetry: OpenTelemetry
) -> None:
    theirs = make_adapter(llama, tmp_path / "adapter", configs()[name]())
    spec = adopt(tmp_path / "adapter")
    assert len(spec.placements) == (3 if name == "ranks" else 1)
    plan = plan_of(llama, tmp_path, spec)
    session = start(plan, tmp_path, open_telemetry)
    assert (logits(session.model) - theirs).abs().max().item() < 1e-6
    assert (logits(load_base(plan, pad_id=0)) - theirs).abs().max().item() > 1e-4


def test_that_a_run_goes_on_from_an_adapter_of_ours(llama: Path, tmp_path: Path, open_telemetry: OpenTelemetry) -> None:
    make_adapter(llama, tmp_path / "adapter", configs()["ranks"]())
    plan = plan_of(llama, tmp_path, adopt(tmp_path / "adapter"))
    first = start(plan, tmp_path, open_telemetry)
    exported = export_adapter(first.attached, plan, tmp_path / "ours")
    spec = adopt(exported)
    assert [(p.use, p.where) for p in spec.placements] == [(p.use, p.where) for p in plan.placements]
    (tmp_path / "next").mkdir()
    again = start(plan_of(llama, tmp_path / "next", spec), tmp_path / "next", open_telemetry)
    assert torch.equal(logits(again.model), logits(first.model))


def test_that_every_tensor_that_does_not_fit_is_named(
    llama: Path, tmp_path: Path, open_telemetry: OpenTelemetry
) -> None:
    make_adapter(llama, tmp_path / "adapter", configs()["loha"]())
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    moved = tensors.pop("base_model.model.model.layers.0.self_attn.q_proj.hada_w1_a")
    tensors["base_model.model.model.layers.0.self_attn.q_proj.hada_w1_b"] = moved
    save_file({**tensors, "base_model.model.lm_head.weight": moved.clone()}, file)
    plan = plan_of(llama, tmp_path, adopt(tmp_path / "adapter"))
    with pytest.raises(InvalidSpecError) as caught:
        start(plan, tmp_path, open_telemetry)
    said = [f"{problem.where} {problem.message}" for problem in caught.value.problems]
    assert [text for text in said if "hada_w1_a is missing there" in text]
    assert [text for text in said if "hada_w1_b has (3, 32) here and (32, 3) there" in text]
    assert [text for text in said if "lm_head.weight has no place" in text]
    assert len(said) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "XLORA"}, "is a XLORA adapter"),
        ({"bias": "all"}, "trains biases"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"target_parameters": ["w"]}, "target_parameters"),
        ({"peft_type": "BOFT", "boft_n_butterfly_factor": 2}, "boft_n_butterfly_factor"),
    ],
)
def test_that_what_no_method_here_computes_is_refused(
    change: dict[str, Any], message: str, llama: Path, tmp_path: Path
) -> None:
    make_adapter(llama, tmp_path / "adapter", configs()["lora"]())
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=message):
        adopt(tmp_path / "adapter")


def test_that_a_folder_without_an_adapter_or_with_a_pickle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither"):
        adopt(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="safetensors"):
        adopt(tmp_path)


@pytest.mark.parametrize(
    "chosen",
    ["role == q", "role in (q, v, down)", "layer == 1", "role == q and layer == 0 or role == fc2", "role == embed"],
)
def test_that_the_expression_selects_exactly_the_modules(chosen: str, tmp_path: Path) -> None:
    for sites in (find_sites(tiny.make_llama(tmp_path / "l", layers=12)), find_sites(tiny.make_bert(tmp_path / "b"))):
        try:
            wanted = [site for site in select(sites, chosen) if site.kind == "linear" or site.role == "embed"]
        except UserError:  # no such role in this family
            continue
        where = where_of(f"model.{site.path}" for site in wanted)
        assert len(where) < 2000
        assert [site for site in select(sites, where) if site.kind in ("linear", "embedding")] == wanted
