"""Telly-K: the published counts of a 12-block encoder, and a backward pass that ends where the frozen part begins."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from studio.engine.flow import backbone_of
from studio.models.header import TensorInfo
from studio.models.sites import sites_of
from studio.models.where import select
from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

WHERE = oracle.load("telly").traits.where
BLOCK = 12 * 768**2 + 13 * 768
ROBERTA = {"model_type": "roberta", "hidden_size": 768, "num_hidden_layers": 12, "vocab_size": 50_265}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model", layers=4)


def _roberta_shapes() -> dict[str, tuple[int, ...]]:
    maps = {f"attention.self.{role}": (768, 768) for role in ("query", "key", "value")} | {
        "attention.output.dense": (768, 768), "attention.output.LayerNorm": (768,),
        "intermediate.dense": (3072, 768), "output.dense": (768, 3072), "output.LayerNorm": (768,),
    }  # fmt: skip
    modules = {f"encoder.layer.{i}.{path}": shape for i in range(12) for path, shape in maps.items()}
    modules |= {"embeddings.LayerNorm": (768,), "pooler.dense": (768, 768)}
    tensors = {"roberta.embeddings.word_embeddings.weight": (50_265, 768)}
    return tensors | {
        f"roberta.{path}.{name}": shape if name == "weight" else shape[:1]
        for path, shape in modules.items() for name in ("weight", "bias")
    }  # fmt: skip


@pytest.mark.parametrize("frozen", range(13))
def test_that_each_frozen_block_of_a_base_encoder_takes_7_million_parameters_away(frozen: int) -> None:
    """85.05 million for Telly-0, 7.09 million for Telly-11."""
    sites = sites_of(ROBERTA, {name: TensorInfo("float32", s, 0, "") for name, s in _roberta_shapes().items()})
    counted = oracle.count("telly", {"frozen": frozen / 12}, select(sites, WHERE))
    assert counted == (12 - frozen) * BLOCK == 85_054_464 - frozen * 7_087_872


def test_that_only_what_lies_above_changes(model: Path) -> None:
    attached = oracle.tune(model, "telly", where=WHERE)
    before = {name: tensor.clone() for name, tensor in attached.model.named_parameters()}
    oracle.our_losses(attached, steps=2)
    changed = {name for name, tensor in attached.model.named_parameters() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if name.startswith(("model.layers.2.", "model.layers.3.", "model.norm"))}


def test_that_no_graph_is_built_in_the_frozen_blocks(model: Path) -> None:
    attached = oracle.tune(model, "telly", {"frozen": 0.75}, where=WHERE)
    states = backbone_of(attached.model)(
        input_ids=torch.tensor([[5, 6, 7]]), output_hidden_states=True, use_cache=False
    ).hidden_states
    assert [state.requires_grad for state in states] == [False, False, False, False, True]


def test_that_fewer_tensors_are_kept_for_the_backward_pass_the_more_blocks_are_frozen(model: Path) -> None:
    kept = [_kept(oracle.tune(model, "telly", {"frozen": k / 4}, where=WHERE).model) for k in range(5)]
    steps = [first - second for first, second in pairwise(kept)]
    assert min(steps) > 0
    assert len(set(steps[1:3])) == 1


def test_that_nothing_frozen_is_full_fine_tuning_of_all_but_the_embeddings(model: Path) -> None:
    ours = oracle.tune(model, "telly", {"frozen": 0}, where=WHERE)
    full = oracle.tune(model, "full", where="kind in (linear, norm)")
    assert ours.trainable == full.trainable
    assert oracle.our_losses(ours, lr=1e-3) == oracle.our_losses(full, lr=1e-3)


@pytest.mark.parametrize("tied", [True, False])
def test_that_a_head_is_trained_unless_it_is_the_embedding(tmp_path: Path, tied: bool) -> None:
    attached = oracle.tune(tiny.make_llama(tmp_path / "model", tied=tied), "telly", where=WHERE)
    assert ("base.lm_head.weight" in attached.tensors) == (not tied)


def _kept(model: torch.nn.Module) -> int:
    """How many tensors the forward pass saves."""
    saved: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=torch.tensor([[5, 6, 7]]), use_cache=False)
    return len(saved)
