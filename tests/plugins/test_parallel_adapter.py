"""Parallel adapters: beside the feed-forward, whether or not it is a module of its own."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import linear, relu

from tests.helpers import adapting, tiny
from tests.helpers.families import build, example_inputs, make

Hidden = dict[str, torch.Tensor]


def bottleneck(x: torch.Tensor, first: Hidden, last: Hidden) -> torch.Tensor:
    return linear(relu(linear(x, first["down.weight"], first["down.bias"])), last["up.weight"], last["up.bias"])


def at(tensors: Hidden, path: str) -> Hidden:
    start = f"0.{path}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


@pytest.mark.parametrize(
    ("architecture", "config", "size", "places"),
    [
        ("LlamaForCausalLM", {"hidden_size": 576, "num_attention_heads": 9, "num_hidden_layers": 30}, 16, 30),
        ("BertModel", {}, 16, 12),
        ("BartForConditionalGeneration", {}, 512, 24),
        ("T5ForConditionalGeneration", {"d_model": 512, "num_layers": 6}, 16, 12),
        ("MixtralForCausalLM", {"hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 3,
                                "num_attention_heads": 8}, 16, 3),
    ],
)  # fmt: skip
def test_that_every_feed_forward_has_one_adapter(
    architecture: str, config: dict[str, int], size: int, places: int
) -> None:
    sites = adapting.published(architecture, **config)
    width = next(site.d_in for site in sites if site.kind == "model")
    counted = adapting.count("parallel-adapter", {"bottleneck": size}, sites)
    assert counted == places * (2 * width * size + size + width)


def test_that_a_module_is_corrected_by_what_it_reads(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "m", layers=1)
    attached = adapting.tune(adapting.load(folder), folder, ("parallel-adapter", {"bottleneck": 5}))
    tensors = at(adapting.stir(attached), "layers.0.mlp")
    theirs = adapting.load(folder)
    theirs.get_submodule("model.layers.0.mlp").register_forward_hook(
        lambda module, args, y: y + bottleneck(args[0], tensors, tensors)
    )
    assert (adapting.answer(theirs) - adapting.answer(attached.model)).abs().max() < 1e-5


def test_that_halves_at_two_maps_are_one_adapter(tmp_path: Path) -> None:
    folder = tiny.make_bert(tmp_path / "m", layers=1)
    attached = adapting.tune(adapting.load(folder), folder, ("parallel-adapter", {"bottleneck": 5}))
    tensors = adapting.stir(attached)
    theirs, read = adapting.load(folder), []
    first, last = "encoder.layer.0.intermediate", "encoder.layer.0.output.dense"
    theirs.get_submodule(first).register_forward_pre_hook(lambda module, args: read.append(args[0]))
    theirs.get_submodule(last).register_forward_hook(
        lambda module, args, y: y + bottleneck(read[-1], at(tensors, f"{first}.dense"), at(tensors, last))
    )
    assert (adapting.answer(theirs) - adapting.answer(attached.model)).abs().max() < 1e-5


def test_that_checkpointing_changes_neither_loss_nor_gradients(tmp_path: Path) -> None:
    folder = tiny.make_bert(tmp_path / "m")
    gradients = []
    for checkpointing in (False, True):
        attached = adapting.tune(adapting.load(folder), folder, ("parallel-adapter", {"bottleneck": 5}))
        adapting.stir(attached)
        attached.model.train()
        if checkpointing:
            attached.model.activation_checkpointing_enable(  # type: ignore[operator]
                activation_checkpointing_kwargs={"use_reentrant": False}
            )
        torch.manual_seed(0)
        adapting.answer(attached.model).square().sum().backward()
        gradients.append([tensor.grad for tensor in attached.tensors.values()])
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(*gradients, strict=True))


def test_that_half_a_feed_forward_is_left_alone(tmp_path: Path) -> None:
    sites = adapting.published("BertModel")
    assert adapting.count("parallel-adapter", {}, sites, where="role == fc2") == 0


@pytest.mark.parametrize("family", ["bart", "t5", "gpt2", "opt", "vit", "bloom"])
def test_that_other_families_run_with_it(tmp_path: Path, family: str) -> None:
    folder = make(family, tmp_path / family)
    attached = adapting.tune(build(family), folder, ("parallel-adapter", {"bottleneck": 5}))
    inputs = example_inputs(family)
    before = attached.model(**inputs).logits
    adapting.stir(attached)
    assert not torch.equal(attached.model(**inputs).logits, before)
