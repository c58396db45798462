"""Learngenes serve every token, tailors those that the gate gives them; without a choice it is a low-rank update."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.api import Site
from tests.helpers import adapting, tiny
from tests.helpers import peft_oracle as oracle

SITE = oracle.linear("layers.0.q", "q", 6, 5)
X = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(0))


def made(**sizes: int) -> tuple[Any, dict[str, Tensor]]:
    """Parameters, and random tensors of the declared shapes."""
    method = oracle.load("kind-learngene")
    params = method.module.Params.model_validate(sizes)
    generator = torch.Generator().manual_seed(1)
    shapes = {decl.name: decl.shape for decl in method.declare(params, [SITE])[SITE.path]}
    return params, {name: torch.randn(shape, generator=generator).requires_grad_() for name, shape in shapes.items()}


def run(params: Any, tensors: dict[str, Tensor], x: Tensor = X, site: Site = SITE) -> Tensor:
    math: Any = oracle.load("kind-learngene").math()
    change: Tensor = math.forward(params, site, tensors, x, torch.zeros(*x.shape[:-1], site.d_out), None)
    return change


def test_that_every_token_is_changed_by_the_dense_weight_of_its_gate() -> None:
    params, own = made(learngenes=3, tailors=2, groups=4)
    change = run(params, own)
    for row in range(2):
        for place in range(7):
            token = X[row, place]
            alpha = (own["gate.weight"] @ token + own["gate.bias"]).softmax(0)
            gate = torch.cat([torch.ones(3), *(a.expand(2) for a in alpha)])
            weight = own["U"] @ torch.diag(own["sigma"] * gate) @ own["V"]
            assert torch.allclose(change[row, place], weight @ token, atol=1e-5)


def test_that_a_closed_gate_leaves_other_tailors_without_a_gradient() -> None:
    params, own = made(learngenes=3, tailors=2, groups=4)
    with torch.no_grad():
        own["gate.bias"][1] = 1e4
    loss = run(params, own).square().sum()
    v, u, sigma = torch.autograd.grad(loss, [own["V"], own["U"], own["sigma"]])
    for grad in (v, u.T, sigma[:, None]):
        assert (grad.abs().sum(1) > 0).tolist() == [True] * 3 + [False] * 2 + [True] * 2 + [False] * 4


def test_that_an_open_group_and_the_learngenes_alone_make_the_same_model() -> None:
    params, own = made(learngenes=3, tailors=2, groups=4)
    with torch.no_grad():
        own["gate.bias"][1] = 1e4
    kept = [0, 1, 2, 5, 6]
    weight = own["U"][:, kept] @ torch.diag(own["sigma"][kept]) @ own["V"][kept]
    assert torch.allclose(run(params, own), X @ weight.T, atol=1e-5)


@pytest.mark.parametrize("sizes", [{"learngenes": 5, "tailors": 0}, {"learngenes": 0, "tailors": 5, "groups": 1}])
def test_that_without_a_choice_it_is_one_low_rank_update(sizes: dict[str, int]) -> None:
    params, own = made(**sizes)
    assert own.keys() == {"V", "sigma", "U"}
    assert torch.allclose(run(params, own), X @ (own["U"] @ torch.diag(own["sigma"]) @ own["V"]).T, atol=1e-5)


def test_that_a_7b_llama_counts_as_the_formula_says() -> None:
    d, layers, learngenes, tailors, groups = 4096, 32, 4, 4, 2
    per_matrix = (learngenes + groups * tailors) * (2 * d + 1) + groups * (d + 1)
    assert adapting.count("kind-learngene", {}, adapting.published("LlamaForCausalLM")) == 2 * layers * per_matrix


def test_that_padding_and_other_rows_change_nothing(tmp_path: Path) -> None:
    folder = tiny.make_llama(tmp_path / "model")
    attached = adapting.tune(adapting.load(folder), folder, ("kind-learngene", {}))
    oracle.fill(attached)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    padded = torch.tensor([[5, 6, 7, 8, 9, 0, 0], [30, 31, 32, 33, 34, 35, 36]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [1] * 7])
    with torch.no_grad():
        alone = attached.model(input_ids=ids).logits
        beside = attached.model(input_ids=padded, attention_mask=mask).logits[:1, :5]
    assert torch.allclose(alone, beside, atol=1e-5)


def test_that_no_component_at_all_is_refused() -> None:
    parsed, problems = oracle.load("kind-learngene").parse({"learngenes": 0, "tailors": 0}, "params")
    assert parsed is None
    assert "at least one" in problems[0].message
