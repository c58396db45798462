"""Matrices held in 8 and 4 bits: what they lose, what they keep, how they load, and that merging never sees them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from studio.core.plan import Plan
from studio.core.spec import Quantization
from studio.engine.build import load_base
from studio.engine.evaluate import evaluate
from studio.engine.export import WEIGHTS, export_adapter
from studio.engine.loop import step_over
from studio.engine.memory import held_bytes
from studio.engine.merged import write_merged
from studio.engine.quantized import FORMATS, Int8Linear, Nf4Linear, QuantizedLinear
from studio.engine.session import open_session
from studio.engine.telemetry import Telemetry
from studio.estimate.packed import site_bytes
from studio.models.sites import find_sites, is_quantizable
from studio.rundir.log import EventLog
from tests.helpers import plans, tiny
from tests.helpers.adapting import stir

KINDS: tuple[Quantization, ...] = ("int8", "nf4")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("llama"), hidden=64)


def packed(
    kind: Quantization, dtype: torch.dtype = torch.float32, *, bias: bool = True
) -> tuple[QuantizedLinear, Tensor]:
    """A packed map of normal weights (96, 192), and those weights."""
    torch.manual_seed(0)
    like = nn.Linear(192, 96, bias=bias, dtype=dtype).requires_grad_(False)
    weight = torch.randn(96, 192)
    return FORMATS[kind](like, weight.to(dtype), dtype), weight


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "error"), [("int8", 0.0065), ("nf4", 0.092)])
def test_that_a_format_loses_what_is_known_of_it(kind: Quantization, error: float, dtype: torch.dtype) -> None:
    module, weight = packed(kind, dtype)
    assert module.weight.dtype == dtype
    lost = (module.weight.float() - weight).square().mean().sqrt() / weight.square().mean().sqrt()
    assert lost.item() == pytest.approx(error, rel=0.1)


def test_that_4_bits_are_those_of_bitsandbytes() -> None:
    from bitsandbytes import functional

    torch.manual_seed(0)
    weight = torch.randn(3000, 704)  # packed in several parts
    module = Nf4Linear(nn.Linear(704, 3000, bias=False), weight, torch.float32)
    theirs, state = functional.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    assert torch.equal(module.packed, theirs)
    assert torch.equal(module.weight, functional.dequantize_4bit(theirs, state))


def test_that_rows_of_zeros_stay_zeros() -> None:
    module = Int8Linear(nn.Linear(4, 2, bias=False), torch.tensor([[0.0] * 4, [1.0, -2.0, 0.5, 0.0]]), torch.float32)
    assert torch.equal(module.weight[0], torch.zeros(4))
    assert module.weight[1].tolist() == pytest.approx([1.0, -2.0, 0.5, 0.0], abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_that_outputs_and_gradients_are_those_of_the_unpacked_weight_which_is_not_kept(kind: Quantization) -> None:
    module, _ = packed(kind)
    module.bias.requires_grad_(True)
    dense = nn.Linear(192, 96)
    with torch.no_grad():
        dense.weight.copy_(module.weight)
        dense.bias.copy_(module.bias)
    given = torch.randn(5, 7, 192)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    results = []
    for each in (module, dense):
        x = given.clone().requires_grad_(True)
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            y = each(x)
        y.square().sum().backward()
        assert each.bias.grad is not None
        results.append((y, x.grad, each.bias.grad))
        if each is module:
            assert not [tensor for tensor in kept if tensor.numel() >= 96 * 192]
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_that_a_model_is_packed_as_it_loads_and_is_else_the_same(
    llama: Path, tmp_path: Path, kind: Quantization
) -> None:
    plain, model = (load_base(plan_of(llama, tmp_path / each, each), pad_id=0) for each in ("none", kind))  # type: ignore[arg-type]
    packed_maps = {path: each for path, each in model.named_modules() if isinstance(each, QuantizedLinear)}
    sites = [site for site in find_sites(llama) if is_quantizable(site)]
    assert len(packed_maps) == len(sites) == 14
    for path, module in packed_maps.items():
        dense = plain.get_submodule(path)
        assert torch.equal(FORMATS[kind](dense, dense.weight, torch.float32).weight, module.weight)  # type: ignore[arg-type]
        with torch.no_grad():
            dense.weight.copy_(module.weight)  # type: ignore[operator, union-attr]
    ids = torch.arange(4, 20)[None]
    with torch.inference_mode():
        assert torch.allclose(model(input_ids=ids).logits, plain(input_ids=ids).logits, atol=1e-6)
    assert not hasattr(model.config, "quantization_config")
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in model.parameters())
    rest = sum(p.numel() * 4 for name, p in plain.named_parameters() if name.rpartition(".")[0] not in packed_maps)
    buffers = sum(buffer.nbytes for name, buffer in plain.named_buffers())
    foreseen = sum(site_bytes(kind, site, 4) for site in sites)
    assert held_bytes(model)["weights"] == rest + buffers + foreseen


def test_that_biases_of_packed_maps_are_those_of_the_file(tmp_path: Path) -> None:
    folder = tiny.make_bert(tmp_path / "bert")
    stored = load_file(folder / "model.safetensors")
    torch.manual_seed(3)
    save_file({k: torch.randn_like(v) if k.endswith("bias") else v for k, v in stored.items()},
              folder / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    data = tiny.make_reviews(tmp_path / "reviews.csv")
    plan = plans.make_plan(folder, data, tmp_path / "library", columns={"text": "text", "label": "label"},
                           task="classification", head=66)  # fmt: skip
    plain, model = (load_base(plan.model_copy(update={"quantization": kind}), pad_id=0) for kind in ("none", "int8"))
    biases = dict(plain.named_parameters())
    found = [(name, bias) for name, bias in model.named_parameters() if name.endswith("bias")]
    assert found
    assert all(torch.equal(bias, biases[name]) for name, bias in found)


def test_that_a_merge_takes_the_original_weights_and_evaluation_changes_nothing_packed(
    llama: Path, tmp_path: Path
) -> None:
    """In bitsandbytes' own module an evaluation repacks the weights, and a merge then adds to what is left of them."""
    plan = plan_of(llama, tmp_path, "nf4")
    (tmp_path / "run").mkdir()
    with EventLog(tmp_path / "run" / "events.jsonl") as log:
        session = open_session(plan, tmp_path / "checkpoints", Telemetry(log, "cpu"))
    held = [module for module in session.model.modules() if isinstance(module, Nf4Linear)]
    before = [module.weight for module in held]
    evaluate(session.model, session.eval_rows, plan, pad_id=0, at_once=4)
    assert all(torch.equal(old, module.weight) for old, module in zip(before, held, strict=True))
    stir(session.attached)
    export_adapter(session.attached, plan, tmp_path / "adapter")
    written = write_merged(plan, tmp_path / "adapter", tmp_path / "merged", lambda *_: None)
    assert written["difference"] < 1e-4
    merged, original = (load_file(each / "model.safetensors") for each in (tmp_path / "merged", llama))
    tensors = load_file(tmp_path / "adapter" / WEIGHTS)
    q = "model.layers.0.self_attn.q_proj.weight"
    a, b = (tensors[next(k for k in tensors if "layers.0.self_attn.q_proj" in k and k.endswith(n))] for n in ("A", "B"))
    scale = plan.placements[0].params["alpha"] / plan.placements[0].params["rank"]
    assert torch.allclose(merged[q], original[q] + scale * b @ a, atol=1e-5)


def test_that_half_precision_trains_on_packed_weights(llama: Path, tmp_path: Path) -> None:
    plan = plan_of(llama, tmp_path, "nf4").model_copy(update={"precision": "bf16"})
    (tmp_path / "run").mkdir()
    with EventLog(tmp_path / "run" / "events.jsonl") as log:
        session = open_session(plan, tmp_path / "checkpoints", Telemetry(log, "cpu"))
    before = {name: tensor.clone() for name, tensor in session.attached.tensors.items()}
    session.model.train()
    step_over(session, session.train_rows[:8])
    assert any(not torch.equal(tensor, before[name]) for name, tensor in session.attached.tensors.items())
    assert all(bool(torch.isfinite(tensor).all()) for tensor in session.attached.tensors.values())


def plan_of(model: Path, folder: Path, kind: Quantization) -> Plan:
    folder.mkdir(exist_ok=True)
    data = tiny.make_questions(folder / "questions.jsonl")
    columns: dict[str, Any] = {"prompt": "{question} ?", "completion": "{answer}"}
    return plans.make_plan(model, data, folder / "library", columns=columns, quantization=kind)
