"""MAM and its design space: published sizes, the prefix as a gated correction, LoRA and adapters as settings."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

LORA = {"tokens": 0, "rank": 4, "form": "linear", "at": "projections", "scale": 2.0}
BART = {"d_model": 1024, "encoder_layers": 12, "decoder_layers": 12, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "m", layers=1)


def tuned(folder: Path, use: str, params: dict[str, Any]) -> Tensor:
    attached = adapting.tune(adapting.load(folder), folder, (use, params))
    adapting.stir(attached)
    return adapting.answer(attached.model).detach()


@pytest.mark.parametrize(
    ("architecture", "config", "params", "expected"),
    [
        ("BartForConditionalGeneration", BART, {}, 27_414_528),
        ("RobertaModel", {}, {"tokens": 16, "rank": 16, "scale": 2.0}, 599_232),
    ],
)
def test_that_published_models_count_as_published(
    architecture: str, config: dict[str, Any], params: dict[str, Any], expected: int
) -> None:
    assert adapting.count("mam-adapter", params, adapting.published(architecture, **config)) == expected


def test_that_a_prefix_is_a_correction_gated_by_the_attention_it_draws(folder: Path) -> None:
    attached = adapting.tune(adapting.load(folder), folder, ("mam-adapter", {"tokens": 3, "rank": 0}))
    tensors = adapting.stir(attached)
    attention = attached.model.get_submodule("model.layers.0.self_attn")
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, heads, 5, 8, generator=generator) for heads in (4, 2, 2))
    from transformers import AttentionInterface

    attend = AttentionInterface()[attached.model.config._attn_implementation]  # type: ignore[union-attr, index]
    joined = attend(attention, query, key, value, None, scaling=8**-0.5, is_causal=False)[0].transpose(1, 2)
    keys, values = (
        tensors[f"0.layers.0.self_attn.prefix.{name}"].view(3, 2, 8).transpose(0, 1) for name in ("keys", "values")
    )
    own, prefix = (
        (k.repeat_interleave(2, -3), v.repeat_interleave(2, -3)) for k, v in ((key, value), (keys[None], values[None]))
    )
    drawn = (query @ prefix[0].mT * 8**-0.5).logsumexp(-1)
    every = torch.logaddexp(drawn, (query @ own[0].mT * 8**-0.5).logsumexp(-1))
    gate = (drawn - every).exp()[..., None]
    alone = scaled_dot_product_attention(query, *own)
    correction = scaled_dot_product_attention(query, *(t.expand(2, -1, -1, -1) for t in prefix))
    assert torch.allclose(joined, (1 - gate) * alone + gate * correction, atol=1e-6)
    assert gate.min() > 0.05


def test_that_linear_corrections_of_queries_and_values_are_peft_lora(folder: Path) -> None:
    from peft import LoraConfig

    attached = oracle.tune(folder, "mam-adapter", LORA, where="role in (q, v)")
    theirs = oracle.wrap(folder, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    oracle.fill(attached)
    names = {"down.weight": "lora_A.default.weight", "up.weight": "lora_B.default.weight"}
    oracle.copy_to_peft(attached, theirs, names)
    assert oracle.difference(attached, theirs) < 1e-5
    assert oracle.agree(oracle.our_losses(attached, lr=0.05), oracle.peft_losses(theirs, lr=0.05))


def test_that_a_prefix_alone_is_prefix_tuning(folder: Path) -> None:
    attached = adapting.tune(adapting.load(folder), folder, ("mam-adapter", {"tokens": 3, "rank": 0}))
    theirs = adapting.tune(adapting.load(folder), folder, ("prefix-tuning", {"tokens": 3}))
    adapting.stir(attached)
    for name, tensor in attached.tensors.items():
        theirs.tensors[name.replace("prefix.", "")].data.copy_(tensor)
    assert torch.equal(adapting.answer(attached.model), adapting.answer(theirs.model))


def test_that_a_correction_alone_is_a_scaled_parallel_adapter(folder: Path) -> None:
    own = tuned(folder, "mam-adapter", {"tokens": 0, "rank": 5, "scale": 4.0})
    assert torch.equal(own, tuned(folder, "scaled-parallel-adapter", {"bottleneck": 5, "scale": 4.0}))


def test_that_a_sequential_relu_after_the_feed_forward_is_a_pfeiffer_adapter(folder: Path) -> None:
    params = {"tokens": 0, "rank": 5, "insertion": "sequential", "scale": 1.0}
    attached = adapting.tune(adapting.load(folder), folder, ("mam-adapter", params))
    theirs = adapting.tune(adapting.load(folder), folder, ("pfeiffer-adapter", {"bottleneck": 5}))
    adapting.stir(attached)
    for name, tensor in theirs.tensors.items():
        tensor.data.copy_(attached.tensors[name.replace("mlp.down_proj", "mlp")])
    assert torch.allclose(adapting.answer(attached.model), adapting.answer(theirs.model), atol=1e-6)


@pytest.mark.parametrize("family", ["llama", "bert"])
@pytest.mark.parametrize("at", ["ffn", "attention", "projections"])
@pytest.mark.parametrize("insertion", ["parallel", "sequential"])
@pytest.mark.parametrize("form", ["relu", "linear"])
@pytest.mark.parametrize("factor", ["fixed", "learned"])
def test_that_every_combination_of_choices_trains_every_tensor(
    tmp_path: Path, family: str, at: str, insertion: str, form: str, factor: str
) -> None:
    folder = tiny.make_llama(tmp_path / "m") if family == "llama" else tiny.make_bert(tmp_path / "m")
    params = {"tokens": 2, "rank": 5, "at": at, "insertion": insertion, "form": form, "factor": factor}
    attached = adapting.tune(adapting.load(folder), folder, ("mam-adapter", params))
    adapting.stir(attached)
    adapting.answer(attached.model).square().sum().backward()
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in attached.tensors.values())


def test_that_a_correction_of_the_attention_reads_what_its_queries_read(tmp_path: Path) -> None:
    folder = tiny.make_bert(tmp_path / "m", layers=1)
    params = {"tokens": 0, "rank": 5, "at": "attention", "form": "linear", "scale": 1.0}
    attached = adapting.tune(adapting.load(folder), folder, ("mam-adapter", params))
    tensors = adapting.stir(attached)
    theirs, read = adapting.load(folder), []
    path = "encoder.layer.0.attention"
    down, up = tensors[f"0.{path}.self.query.down.weight"], tensors[f"0.{path}.output.dense.up.weight"]
    theirs.get_submodule(f"{path}.self").register_forward_pre_hook(lambda module, args: read.append(args[0]))
    theirs.get_submodule(f"{path}.output.dense").register_forward_hook(
        lambda module, args, y: y + read[-1] @ down.T @ up.T
    )
    assert (adapting.answer(theirs) - adapting.answer(attached.model)).abs().max() < 1e-5


def test_that_a_prefix_made_by_a_network_answers_as_its_stored_keys_and_values(folder: Path) -> None:
    attached = adapting.tune(adapting.load(folder), folder, ("mam-adapter", {"tokens": 3, "rank": 5, "network": 7}))
    stored = adapting.tune(adapting.load(folder), folder, ("mam-adapter", {"tokens": 3, "rank": 5}))
    adapting.stir(attached)
    made = {name.rpartition("prefix.")[2]: t for name, t in attached.tensors.items() if "prefix." in name}
    flat = torch.tanh(made["embedding"] @ made["down"].T) @ made["up"].T
    for name, tensor in stored.tensors.items():
        own = {"keys": flat[:, :16], "values": flat[:, 16:]}.get(name.rpartition(".")[2])
        tensor.data.copy_(attached.tensors[name] if own is None else own)
    assert torch.allclose(adapting.answer(attached.model), adapting.answer(stored.model), atol=1e-6)
