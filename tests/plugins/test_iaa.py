"""IAA: Houlsby adapters and aside modules that join them into one path."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import gelu, linear

from studio.engine.attach import Attached
from tests.helpers import adapting, tiny

BLOCKS = {"llama": "model.layers", "bert": "encoder.layer"}


@pytest.fixture(params=["llama", "bert"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(family: str, tmp_path: Path) -> Path:
    return (tiny.make_llama if family == "llama" else tiny.make_bert)(tmp_path / "m", layers=3)


def tune(folder: Path, **params: Any) -> Attached:
    return adapting.tune(adapting.load(folder), folder, ("iaa", {"bottleneck": 5, **params}))


@pytest.mark.parametrize("aside", ["layer", "attention", "ffn"])
def test_that_every_layer_has_three_modules_of_one_size(aside: str) -> None:
    d, r = 768, 8
    for architecture in ("BertModel", "LlamaForCausalLM"):
        sites = adapting.published(architecture, hidden_size=d, num_hidden_layers=12, num_attention_heads=12)
        assert adapting.count("iaa", {"bottleneck": r, "aside": aside}, sites) == 12 * 3 * (2 * d * r + r + d)


@pytest.mark.parametrize("aside", ["layer", "attention", "ffn"])
def test_that_the_start_is_the_base_model_and_every_module_receives_a_gradient(folder: Path, aside: str) -> None:
    attached = tune(folder, aside=aside)
    assert torch.equal(adapting.answer(attached.model), adapting.answer(adapting.load(folder)))
    adapting.stir(attached)
    adapting.answer(attached.model).square().sum().backward()
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in attached.tensors.values())


def test_that_without_aside_modules_it_trains_exactly_as_houlsby_adapters(folder: Path) -> None:
    losses: list[list[float]] = []
    runs = (tune(folder), adapting.tune(adapting.load(folder), folder, ("houlsby-adapter", {"bottleneck": 5})))
    for name, tensor in runs[1].tensors.items():
        head, _, part = name.rpartition(".")
        place, _, half = head.rpartition(".")
        tensor.data.copy_(runs[0].tensors[f"{place}.inner.{half}.{part}"])
    for attached in runs:
        trained = [tensor for name, tensor in attached.tensors.items() if ".aside." not in name]
        optimizer = torch.optim.AdamW(trained, lr=1e-2)
        curve = []
        for step in range(5):
            loss = adapting.answer(attached.model, adapting.some_ids(step % 2))[..., :5].square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            curve.append(loss.item())
        losses.append(curve)
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("use", ["iaa", "houlsby-adapter"])
def test_that_only_aside_modules_carry_the_gradient_around_cut_layers(folder: Path, family: str, use: str) -> None:
    model = adapting.load(folder)
    for block in model.get_submodule(BLOCKS[family]).children():
        block.register_forward_hook(lambda module, args, output: _cut(output))
    attached = adapting.tune(model, folder, (use, {"bottleneck": 5}))
    adapting.stir(attached)
    answer = adapting.answer(attached.model)
    first = [t for name, t in attached.tensors.items() if f"{BLOCKS[family].removeprefix('model.')}.0." in name]
    if use == "iaa":
        answer.square().sum().backward()
        assert any(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in first)
    else:
        assert not answer.requires_grad


def _cut(output: Any) -> Any:
    return (output[0].detach(), *output[1:]) if isinstance(output, tuple) else output.detach()


def test_that_an_aside_module_corrects_a_layer_by_what_it_reads(folder: Path, family: str) -> None:
    attached = tune(folder)
    tensors = adapting.stir(attached)
    path = f"{BLOCKS[family]}.1"
    own = {
        name.rpartition("aside.")[2]: t
        for name, t in tensors.items()
        if f"{path.removeprefix('model.')}.aside." in name
    }
    attached.model.get_submodule(path).register_forward_pre_hook(
        lambda module, args, kwargs: read.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    attached.model.get_submodule(path).register_forward_hook(
        lambda module, args, output: answers.append(output[0] if isinstance(output, tuple) else output)
    )
    read: list[torch.Tensor] = []
    answers: list[torch.Tensor] = []
    adapting.answer(attached.model)
    for tensor in own.values():
        tensor.zero_()
    adapting.answer(attached.model)
    own = {
        name.rpartition("aside.")[2]: t
        for name, t in adapting.stir(tune(folder)).items()
        if f"{path.removeprefix('model.')}.aside." in name
    }
    hidden = gelu(linear(read[0], own["down.weight"], own["down.bias"]))
    change = linear(hidden, own["up.weight"], own["up.bias"])
    assert torch.equal(read[0], read[1])
    assert torch.allclose(answers[0], answers[1] + change, atol=1e-5)
