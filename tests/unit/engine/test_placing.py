"""Methods placed together: gates, experts, flipped storage, prompts and prefixes, masters of another precision."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from studio.api import Params
from studio.core.errors import PluginError, UserError
from studio.engine.attach import Attached, Placed, attach
from studio.engine.build import load_base
from studio.engine.flow import bare
from studio.engine.generate import write_samples
from studio.engine.merge import merge_into_base
from studio.engine.session import open_session
from studio.extensions.loader import load_method
from studio.extensions.registry import discover
from studio.models.sites import find_sites
from studio.models.where import select
from tests.helpers import families, plans, tiny
from tests.helpers.adapting import stir

Use = tuple[str, str, Mapping[str, Any], Any]


def load(folder: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    from transformers import AutoModelForCausalLM

    model: nn.Module = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    model.config.use_cache = False  # type: ignore[union-attr]
    return model.requires_grad_(False)


def tune(folder: Path, *uses: Use, dtype: torch.dtype = torch.float32) -> Attached:
    """Placements (method, where, params, gate) on the model of a folder, with random changes as training makes."""
    sites = find_sites(folder)
    placed = []
    for use, where, params, gate in uses:
        method = load_method(discover().get(use, "method"))
        parsed: Params = method.module.Params.model_validate(params)
        chosen = tuple(site for site in select(sites, where) if method.traits.takes(site))
        placed.append(Placed(method, parsed, chosen, gate))
    attached = attach(load(folder, dtype), placed, sites=sites, train_head=False, seed=0)
    stir(attached)
    return attached


def logits(model: nn.Module, ids: Tensor | None = None) -> Tensor:
    ids = torch.arange(4, 14)[None] if ids is None else ids
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module", params=["mixtral", "qwen3_moe"])
def mixture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families.make(str(request.param), tmp_path_factory.mktemp(str(request.param)))


def test_that_a_gate_of_zero_shuts_and_a_gate_of_one_is_none(llama: Path) -> None:
    base = logits(load(llama))
    lora: Use = ("lora", "role in (q, down)", {}, None)
    whole = logits(tune(llama, lora).model)
    assert torch.equal(logits(tune(llama, (*lora[:3], 0.0)).model), base)
    assert torch.equal(logits(tune(llama, (*lora[:3], 1.0)).model), whole)
    assert not torch.allclose(whole, base, atol=1e-3)


@pytest.mark.parametrize("use", ["lora", "sparse-mask", "ssf"])
@pytest.mark.parametrize("gate", [0.5, "learned"])
def test_that_gated_placements_merge_to_what_they_compute(llama: Path, use: str, gate: Any) -> None:
    where = "kind == linear and layer == 0"
    params = {"count": 500} if use == "sparse-mask" else {}
    attached = tune(llama, (use, where, params, gate), ("lora", "role == v", {"rank": 2}, None))
    gates = [name for name in attached.tensors if name.endswith("._gate")]
    assert len(gates) == (7 if gate == "learned" else 0)
    tuned = logits(attached.model)
    assert torch.allclose(logits(merge_into_base(attached)), tuned, atol=1e-5)


@pytest.mark.parametrize(
    "pair", [("lora", "hira"), ("hira", "lora"), ("lora", "dora"), ("dora", "lora"), ("ia3", "lokr")]
)
def test_that_two_placements_on_one_site_merge_to_what_they_compute(llama: Path, pair: tuple[str, str]) -> None:
    attached = tune(llama, *((use, "role in (q, v, down)", {}, None) for use in pair))
    tuned = logits(attached.model)
    assert torch.allclose(logits(merge_into_base(attached)), tuned, atol=1e-5)


@pytest.mark.parametrize("use", ["hira", "sparse-mask"])
def test_that_recomputing_leaves_no_merged_weight_behind(llama: Path, use: str) -> None:
    params = {"count": 500} if use == "sparse-mask" else {}
    attached = tune(llama, (use, "kind == linear and layer >= 0", params, None))
    model = attached.model
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})  # type: ignore[operator]
    model.train()
    model(input_ids=torch.arange(4, 14)[None]).logits.square().mean().backward()
    assert not [path for path, module in model.named_modules() if "weight" in vars(module)]
    model.eval()
    with bare(model):
        assert torch.equal(logits(model), logits(load(llama)))


def test_that_a_tied_tensor_is_counted_and_trained_once(llama: Path) -> None:
    attached = tune(llama, ("full", "role in (embed, head)", {}, None), dtype=torch.bfloat16)
    assert list(attached.tensors) == ["base.embed_tokens.weight"]


def test_that_a_gate_reads_the_input_and_starts_half_open(llama: Path) -> None:
    attached = tune(llama, ("lora", "role == q", {}, "input"))
    shapes = {tuple(t.shape) for name, t in attached.tensors.items() if name.endswith("._gate")}
    assert shapes == {(33,)}
    half = tune(llama, ("lora", "role == q", {}, 0.5))
    with torch.no_grad():
        for name, tensor in attached.tensors.items():
            tensor.copy_(half.tensors[name]) if name in half.tensors else tensor.zero_()
    assert torch.allclose(logits(attached.model), logits(half.model), atol=1e-6)
    with pytest.raises(UserError, match="depends on the input"):
        merge_into_base(attached)


@pytest.mark.parametrize("use", ["lora", "sara", "ia3", "loha"])
def test_that_experts_are_tuned_each_on_its_own_and_merge(mixture: Path, use: str) -> None:
    where = "role in (expert_gate_up, expert_down)"
    attached = tune(mixture, (use, where, {}, None))
    experts = [site for item in attached.placed for site in item.sites]
    assert experts
    assert all(site.copies > 1 for site in experts)
    tuned = logits(attached.model)
    with bare(attached.model):
        assert torch.equal(logits(attached.model), logits(load(mixture)))
    assert not torch.allclose(tuned, logits(load(mixture)), atol=1e-4)
    assert torch.allclose(logits(merge_into_base(attached)), tuned, atol=1e-5)


def test_that_a_bf16_base_keeps_fp32_masters_under_a_weight_edit(llama: Path) -> None:
    uses: tuple[Use, ...] = (
        ("full", "layer == 0 and role in (q, norm1)", {}, None),
        ("sparse-mask", "role == q", {"count": 90}, None),
    )
    attached = tune(llama, *uses, dtype=torch.bfloat16)
    assert all(tensor.dtype == torch.float32 for tensor in attached.tensors.values())
    model = attached.model
    ids = torch.arange(4, 14)[None]
    model(input_ids=ids).logits.float().square().mean().backward()
    assert all(t.grad is not None and bool(t.grad.any()) for t in attached.tensors.values())
    tuned = logits(model)
    assert torch.allclose(logits(merge_into_base(attached)), tuned, atol=2e-2)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_that_merging_one_of_two_modules_that_share_a_weight_is_refused(llama: Path) -> None:
    attached = tune(llama, ("lora", "role == head", {}, None))
    with pytest.raises(UserError, match="shares its weight"):
        merge_into_base(attached)


def test_that_a_gate_on_tokens_is_refused(llama: Path) -> None:
    with pytest.raises(UserError, match="a gate cannot scale the tokens that mam-adapter puts in"):
        tune(llama, ("mam-adapter", "kind in (attention, ffn)", {}, 0.5))


@pytest.mark.parametrize(("use", "function"), [("lora", "low_rank"), ("dora", "forward")])
def test_that_what_a_plugin_raises_names_it_and_the_place(
    llama: Path, monkeypatch: pytest.MonkeyPatch, use: str, function: str
) -> None:
    attached = tune(llama, (use, "role == q", {}, None))

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("nothing left")

    monkeypatch.setattr(attached.placed[0].method.math(), function, fail)
    with pytest.raises(PluginError, match=rf"'{use}'.*ZeroDivisionError: nothing left") as caught:
        logits(attached.model)
    assert caught.value.where == "layers.0.self_attn.q_proj"


@pytest.mark.parametrize("use", ["prompt-tuning", "prefix-tuning", "reft"])
def test_that_written_text_is_what_the_whole_sequence_would_say(
    llama: Path, tmp_path: Path, use: str, open_telemetry: Any
) -> None:
    """Generation, with or without a cache, continues as a forward pass over prompt and answer does."""
    plan = plans.make_plan(llama, tiny.make_questions(tmp_path / "q.jsonl"), tmp_path / "library", use=use,
                           columns={"prompt": "{question} ?", "completion": "{answer}"})  # fmt: skip
    session = open_session(plan, tmp_path / "checkpoints", open_telemetry(tmp_path))
    stir(session.attached, std=1.0)
    rows = session.eval_rows[:3]
    written = write_samples(
        session.model, rows, session.encoder, device="cpu", at_once=3, cache=not session.attached.recomputes,
        most_new=6,
    )  # fmt: skip
    session.model.eval()
    for row, sample in zip(rows, written, strict=True):
        ids = torch.from_numpy(row.ids[: int(row.trained.argmax())])[None]
        for _ in range(6):
            following = logits(session.model, ids)[0, -1].argmax()
            ids = torch.cat([ids, following[None, None]], dim=1)
            if int(following) == session.encoder.eos_id:
                break
        start = int(row.trained.argmax())
        assert session.encoder.decode(ids[0, start:].tolist()).startswith(sample["output"])


def test_that_a_prompt_is_the_same_as_its_tokens_written_out(llama: Path) -> None:
    attached = tune(llama, ("prompt-tuning", "kind == model", {"tokens": 3}, None))
    base = load(llama)
    embedded = base.get_input_embeddings()  # type: ignore[operator]
    words = torch.tensor([[5, 9, 11]])
    tensor = attached.tensors["0..tokens"]
    with torch.no_grad():
        tensor.copy_(embedded(words[0]))
    ids = torch.arange(20, 28)[None]
    expected = logits(base, torch.cat([words, ids], dim=1))[:, 3:]
    assert torch.allclose(logits(attached.model, ids), expected, atol=1e-6)


def test_that_the_base_loads_frozen(llama: Path, tmp_path: Path) -> None:
    plan = plans.make_plan(llama, tiny.make_questions(tmp_path / "q.jsonl"), tmp_path / "library",
                           columns={"prompt": "{question} ?", "completion": "{answer}"})  # fmt: skip
    assert not any(parameter.requires_grad for parameter in load_base(plan, pad_id=0).parameters())
