"""UniPELT: three parts with a gate for every token."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear, relu

from studio.engine.attach import Attached
from tests.helpers import adapting, tiny

SIZES = {"rank": 3, "tokens": 4, "bottleneck": 5}


@pytest.fixture(params=["llama", "bert"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return (tiny.make_llama if request.param == "llama" else tiny.make_bert)(tmp_path / "m")


def tune(folder: Path, **params: Any) -> Attached:
    return adapting.tune(adapting.load(folder), folder, ("unipelt", {**SIZES, **params}))


def open_gates(attached: Attached, bias: float) -> None:
    """Gates that ignore what they read."""
    for name, tensor in attached.tensors.items():
        if name.endswith("gate"):
            tensor.data.zero_()
            tensor.data[-1] = bias


def test_that_a_bert_base_counts_as_the_sum_of_its_parts_and_gates() -> None:
    sites = adapting.published("BertModel")
    lora, prefix, adapter = 12 * 2 * 8 * 1536, 12 * 2 * 10 * 768, 12 * (2 * 768 * 48 + 48 + 768)
    counted = adapting.count("unipelt", {}, sites)
    assert counted == lora + prefix + adapter + 12 * 4 * 769 == 1_410_672
    assert adapting.count("unipelt", {"rank": 0, "bottleneck": 0}, sites) == prefix + 12 * 769


def test_that_closed_gates_shut_updates_and_adapters_out(folder: Path) -> None:
    attached = tune(folder, tokens=0)
    adapting.stir(attached)
    open_gates(attached, -100.0)
    assert torch.allclose(adapting.answer(attached.model), adapting.answer(adapting.load(folder)), atol=1e-6)


def test_that_open_gates_give_lora_prefix_and_adapter_as_they_are(folder: Path) -> None:
    attached = tune(folder)
    tensors = adapting.stir(attached)
    open_gates(attached, 100.0)
    parts = (
        ("lora", {"rank": 3, "alpha": 16.0}),
        ("prefix-tuning", {"tokens": 4}),
        ("pfeiffer-adapter", {"bottleneck": 5}),
    )
    theirs = adapting.load(folder)
    for use, params in parts:
        where = "role in (q, v)" if use == "lora" else None
        single = adapting.tune(theirs, folder, (use, params), where=where)
        for name, tensor in single.tensors.items():
            tensor.data.copy_(tensors[name])
    assert torch.allclose(adapting.answer(theirs), adapting.answer(attached.model), atol=1e-5)


def test_that_a_gate_scales_keys_and_values_for_each_query(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "m", layers=1)
    attached = tune(folder, rank=0, bottleneck=0)
    tensors = adapting.stir(attached, std=0.5)
    module = attached.model.get_submodule("model.layers.0.self_attn")
    read: list[Tensor] = []
    module.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["hidden_states"]), with_kwargs=True
    )
    joined: list[Tensor] = []
    module.get_submodule("o_proj").register_forward_pre_hook(lambda module, args: joined.append(args[0]))
    adapting.answer(attached.model)
    gate = tensors["0.layers.0.self_attn.q_proj.prefix.gate"]
    share = torch.sigmoid(read[0] @ gate[:-1] + gate[-1])
    assert share.std() > 0.02
    for t in (0, 3, 6):
        single = adapting.tune(adapting.load(folder), folder, ("prefix-tuning", {"tokens": 4}))
        row: list[Tensor] = []
        single.model.get_submodule("model.layers.0.self_attn.o_proj").register_forward_pre_hook(
            lambda module, args, row=row: row.append(args[0])
        )
        for name, tensor in single.tensors.items():
            tensor.data.copy_(share[0, t] * tensors[name])
        adapting.answer(single.model, adapting.some_ids()[:1])
        assert torch.allclose(joined[0][0, t], row[0][0, t], atol=1e-5)


def test_that_a_later_token_does_not_change_an_earlier_answer(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "m")
    attached = tune(folder)
    adapting.stir(attached)
    ids = adapting.some_ids()
    changed = ids.clone()
    changed[:, 4:] = 6
    before, after = adapting.answer(attached.model, ids), adapting.answer(attached.model, changed)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-3)


def test_that_an_adapter_is_gated_by_what_it_reads(tmp_path: Path) -> None:
    folder = tiny.make_bert(tmp_path / "m", layers=1)
    attached = tune(folder, rank=0, tokens=0)
    path = "encoder.layer.0.output.dense"
    own = {name.removeprefix(f"0.{path}."): tensor for name, tensor in adapting.stir(attached).items()}
    module = attached.model.get_submodule(path)
    x = torch.randn(2, 7, 64, generator=torch.Generator().manual_seed(0))
    tuned = module(x)
    attached.flow.enabled = False
    y = module(x)
    gate = torch.sigmoid(y @ own["adapter.gate"][:-1] + own["adapter.gate"][-1])
    change = linear(relu(linear(y, own["down.weight"], own["down.bias"])), own["up.weight"], own["up.bias"])
    assert torch.allclose(tuned, y + gate[..., None] * change, atol=1e-5)
    assert gate.std() > 0.01
