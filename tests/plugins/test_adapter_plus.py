"""Adapter+: on the residual stream, scaled per channel, left out at random while training."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import gelu, linear

from tests.helpers import adapting, tiny


@pytest.mark.parametrize(("size", "expected"), [(8, 165_984), (16, 313_536)])
def test_that_a_vit_base_counts_as_published(size: int, expected: int) -> None:
    """The paper's 0.20 M and 0.35 M include classifiers of 0.04 M."""
    assert adapting.count("adapter-plus", {"bottleneck": size}, adapting.published("ViTModel")) == expected


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_that_the_adapter_corrects_what_a_block_puts_out(tmp_path: Path, family: str) -> None:
    make, path = (tiny.make_llama, "layers.0") if family == "llama" else (tiny.make_bert, "encoder.layer.0")
    folder = make(tmp_path / "m", layers=1)
    attached = adapting.tune(adapting.load(folder), folder, ("adapter-plus", {"bottleneck": 5}))
    tensors = {name.removeprefix(f"0.{path}."): tensor for name, tensor in adapting.stir(attached).items()}
    theirs = adapting.load(folder)

    def correct(module: torch.nn.Module, args: Any, output: Any) -> Any:
        y = output[0] if isinstance(output, tuple) else output
        hidden = gelu(linear(y, tensors["down.weight"], tensors["down.bias"]))
        changed = y + tensors["scale"] * linear(hidden, tensors["up.weight"], tensors["up.bias"])
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    theirs.get_submodule(path if family == "bert" else f"model.{path}").register_forward_hook(correct)
    assert (adapting.answer(theirs) - adapting.answer(attached.model)).abs().max() < 1e-5


def test_that_the_start_is_near_the_base_model(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "m")
    attached = adapting.tune(adapting.load(folder), folder, ("adapter-plus", {}))
    difference = adapting.answer(attached.model) - adapting.answer(adapting.load(folder))
    assert 0 < difference.abs().max() < 1e-2


def test_that_whole_rows_are_left_out_while_training_and_none_afterwards(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "m", layers=1)
    attached = adapting.tune(adapting.load(folder), folder, ("adapter-plus", {"drop_path": 0.5}))
    adapting.stir(attached)
    ids = torch.randint(5, 40, (1, 6)).expand(64, -1)
    bare = adapting.answer(adapting.load(folder), ids)
    torch.manual_seed(0)
    answer = adapting.answer(attached.model.train(), ids)
    skipped = (answer - bare).abs().amax((1, 2)) < 1e-6
    assert 16 < skipped.sum() < 48
    assert torch.unique(answer[~skipped].round(decimals=4), dim=0).shape[0] == 1
    assert not torch.equal(adapting.answer(attached.model.eval(), ids), bare)
