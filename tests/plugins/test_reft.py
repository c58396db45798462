"""LoReFT: the published count, the edit within its subspace alone, at the prompt's ends alone, packed or not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.api import Context, Tokens
from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

METHOD = oracle.load("reft")
WHERE = METHOD.traits.where


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.make_llama(tmp_path / "model")


def edited(lengths: list[tuple[int, int]], *, packed: bool, **params: int) -> list[list[int]]:
    """Places of the edited tokens in rows of (prompt, whole) length."""
    math: Any = METHOD.math()
    rows = [torch.arange(whole) < prompt for prompt, whole in lengths]
    wholes = [whole for _, whole in lengths]
    if packed:
        tokens = Tokens(
            mask=torch.ones(1, sum(wholes), dtype=torch.bool),
            positions=torch.cat([torch.arange(n) for n in wholes])[None],
            prompt=torch.cat(rows)[None],
            lengths=torch.cat([torch.full((n,), n) for n in wholes])[None],
        )
        parts = math.edited(METHOD.module.Params(**params), tokens)[0].split(wholes)
        return [part.nonzero().flatten().tolist() for part in parts]
    longest = max(wholes)
    prompt = torch.stack([torch.nn.functional.pad(row, (0, longest - len(row))) for row in rows])
    positions = torch.arange(longest).expand(len(rows), -1)
    mask = positions < torch.tensor(wholes)[:, None]
    tokens = Tokens(mask, positions, prompt, mask.sum(1, keepdim=True).expand_as(mask))
    return [row.nonzero().flatten().tolist() for row in math.edited(METHOD.module.Params(**params), tokens)]


def test_that_rank_eight_on_every_block_of_llama_7b_counts_as_published() -> None:
    """0.031 % of 6.74 billion."""
    sites = adapting.published("LlamaForCausalLM", num_hidden_layers=32, hidden_size=4096, intermediate_size=11_008)
    assert adapting.count("reft", {"rank": 8}, sites) == 32 * (2 * 8 * 4096 + 8) == 2_097_408


@pytest.mark.parametrize("packed", [True, False])
def test_that_the_first_and_last_tokens_of_every_prompt_are_edited(packed: bool) -> None:
    lengths = [(9, 12), (3, 4), (6, 6), (1, 9)]
    both = edited(lengths, packed=packed, first=2, last=3)
    assert both == [[0, 1, 6, 7, 8], [0, 1, 2], [0, 1, 3, 4, 5], [0]]
    assert edited(lengths, packed=packed, first=2, last=0) == [[0, 1], [0, 1], [0, 1], [0]]
    assert edited(lengths, packed=packed, first=0, last=1) == [[8], [2], [5], [0]]


def test_that_within_the_subspace_the_state_becomes_the_map_and_outside_it_stays(model: Path) -> None:
    attached = oracle.tune(model, "reft", where=WHERE)
    oracle.fill(attached)
    place = attached.places(0)[0]
    rows = torch.linalg.qr(place.tensors["R"].detach().T).Q.T
    assert torch.allclose(rows @ rows.T, torch.eye(8), atol=1e-5)
    h = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    changed = forward(attached, h)
    wanted = h @ place.tensors["W"].detach().T + place.tensors["b"].detach()
    assert torch.allclose(changed @ rows.T, wanted, atol=1e-5)
    outside = torch.eye(32) - rows.T @ rows
    assert torch.allclose(changed @ outside, h @ outside, atol=1e-5)


def test_that_no_other_token_sees_an_edit_of_the_last_block(model: Path) -> None:
    attached = oracle.tune(model, "reft", {"first": 2, "last": 1}, where="kind == block and layer == 1")
    untuned = oracle.logits(attached.model)
    oracle.fill(attached)
    moved = (oracle.logits(attached.model) - untuned).abs().amax(dim=(0, 2)) > 1e-4
    assert moved.tolist() == [True, True, *[False] * 9, True]


def test_that_tokens_written_after_the_prompt_are_not_edited(model: Path) -> None:
    attached = oracle.tune(model, "reft", where="kind == block and layer == 1")
    untuned = _second_pass(attached.model)
    oracle.fill(attached)
    assert torch.equal(_second_pass(attached.model), untuned)


def test_that_the_loss_of_a_batch_falls_each_time_it_comes(model: Path) -> None:
    attached = oracle.tune(model, "reft", where=WHERE)
    losses = oracle.our_losses(attached)
    assert losses[3] > losses[7] > losses[19]


def test_that_a_rank_beyond_the_width_replaces_the_whole_state(model: Path) -> None:
    attached = oracle.tune(model, "reft", {"rank": 40}, where=WHERE)
    untuned = oracle.logits(oracle.tune(model, "reft", where=WHERE).model)
    assert attached.trainable == 2 * (2 * 40 * 32 + 40)
    assert torch.equal(oracle.logits(attached.model), untuned)
    oracle.fill(attached)
    place = attached.places(0)[0]
    columns = torch.linalg.qr(place.tensors["R"].detach()).Q
    h = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    wanted = (h @ place.tensors["W"].detach().T + place.tensors["b"].detach()) @ columns
    assert torch.allclose(forward(attached, h), wanted, atol=1e-5)


def forward(attached: Any, h: Tensor) -> Tensor:
    """The edit of every token of h."""
    place = attached.places(0)[0]
    ctx = Context(training=False, weight=lambda: h, bias=lambda: None)
    math: Any = METHOD.math()
    with torch.no_grad():
        changed: Tensor = math.forward(METHOD.module.Params(), place.site, place.tensors, h, h, ctx)
    return changed


def _second_pass(model: torch.nn.Module) -> Tensor:
    """Logits of one more token after a cached prompt."""
    with torch.no_grad():
        first = model.eval()(input_ids=torch.tensor([[5, 6, 7]]), use_cache=True)
        second: Tensor = model(input_ids=torch.tensor([[8]]), past_key_values=first.past_key_values).logits
    return second
