"""Pfeiffer adapters: one per block, after the feed-forward."""

from pathlib import Path

import torch
from torch.nn.functional import linear, relu

from tests.helpers import adapting, tiny


def test_that_a_sixteenth_of_a_bert_base_counts_as_published() -> None:
    sites = adapting.published("BertModel")
    assert adapting.count("pfeiffer-adapter", {"bottleneck": 48}, sites) == 894_528


def test_that_only_feed_forwards_get_an_adapter(tmp_path: Path) -> None:
    folder = tiny.make_bert(tmp_path / "m")
    attached = adapting.tune(adapting.load(folder), folder, ("pfeiffer-adapter", {"bottleneck": 5}))
    assert set(attached.paths) == {"encoder.layer.0.output.dense", "encoder.layer.1.output.dense"}


def test_that_the_bottleneck_reads_and_corrects_what_the_feed_forward_puts_out(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "m", layers=1)
    attached = adapting.tune(adapting.load(folder), folder, ("pfeiffer-adapter", {"bottleneck": 5}))
    tensors = {name.removeprefix("0.layers.0.mlp.down_proj."): t for name, t in adapting.stir(attached).items()}
    theirs = adapting.load(folder)

    def correct(module: torch.nn.Module, args: object, y: torch.Tensor) -> torch.Tensor:
        return y + linear(
            relu(linear(y, tensors["down.weight"], tensors["down.bias"])), tensors["up.weight"], tensors["up.bias"]
        )

    theirs.get_submodule("model.layers.0.mlp").register_forward_hook(correct)
    assert (adapting.answer(theirs) - adapting.answer(attached.model)).abs().max() < 1e-5
    assert (adapting.answer(adapting.load(folder)) - adapting.answer(theirs)).abs().max() > 1e-2
