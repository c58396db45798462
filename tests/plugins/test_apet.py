"""APET: the draw keeps its budget, nothing is split, and what is not drawn is neither computed nor changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.api import ParamDecl, Site
from studio.models.sites import find_sites
from studio.models.where import select
from tests.helpers import peft_oracle as oracle
from tests.helpers import tiny

APET = oracle.load("apet")
WHERE = APET.traits.where


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("apet") / "llama")


@pytest.fixture(scope="module")
def sites(model: Path) -> tuple[Site, ...]:
    return select(find_sites(model), WHERE)


def draw(sites: tuple[Site, ...], **params: Any) -> Mapping[str, list[ParamDecl]]:
    drawn: Mapping[str, list[ParamDecl]] = APET.module.declare_over(APET.module.Params(**params), sites)  # type: ignore[attr-defined]
    return drawn


def sizes(drawn: Mapping[str, list[ParamDecl]], *, base: bool) -> int:
    return sum(d.count for decls in drawn.values() for d in decls if (d.base is not None) == base)


@pytest.mark.parametrize("budget", [500, 3_000, 10_000, 24_000])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_that_each_half_keeps_within_half_of_the_budget(sites: tuple[Site, ...], budget: int, number: int) -> None:
    drawn = draw(sites, budget=budget, draw=number, prompt_tokens=20, mode="paper")
    assert sizes(drawn, base=False) <= budget // 2
    assert sizes(drawn, base=True) <= budget // 2
    modules = [{"A", "B"}, {"down.weight", "down.bias", "up.weight", "up.bias"}, {"tokens"}]
    added = [{d.name for d in decls if d.base is None} for decls in drawn.values()]
    assert all(names in modules for names in added if names)


def test_that_nothing_that_was_skipped_would_still_fit(sites: tuple[Site, ...]) -> None:
    drawn = draw(sites, budget=10_000, mode="paper")
    left = 5_000 - sizes(drawn, base=True)
    taken = {(path, d.name) for path, decls in drawn.items() for d in decls}
    skipped = [s for s in sites if s.shape and (s.path, "weight") not in taken]
    assert skipped
    assert all(torch.Size(site.shape).numel() > left for site in skipped)


def test_that_budget_and_number_decide_the_draw(sites: tuple[Site, ...]) -> None:
    assert draw(sites, budget=10_000) == draw(sites, budget=10_000)
    assert draw(sites, budget=10_000) != draw(sites, budget=10_000, draw=2)


@pytest.mark.parametrize("budget", [1, 777, 10_000, 20_001])
def test_that_the_exact_mode_trains_exactly_the_budget(sites: tuple[Site, ...], budget: int) -> None:
    assert oracle.count("apet", {"budget": budget, "mode": "exact"}, sites) == budget


def test_that_a_budget_beyond_every_tensor_is_met_in_mode_paper_and_refused_in_mode_exact(
    sites: tuple[Site, ...],
) -> None:
    pools = 8 * (64 + 48) * 2 + 4 * (2 * 32 * 24 + 24 + 32)
    whole = oracle.count("full", {}, [site for site in sites if site.shape])
    assert oracle.count("apet", {"budget": 10**6, "mode": "paper"}, sites) == pools + whole
    with pytest.raises(ValueError, match="fewer than the budget"):
        draw(sites, budget=10**6, mode="exact")


def test_that_only_what_was_drawn_changes_and_the_start_is_the_base(model: Path) -> None:
    untuned = oracle.logits(oracle.tune(model, "apet", {"budget": 1, "mode": "exact"}, where=WHERE).model)
    attached = oracle.tune(model, "apet", {"budget": 6_001, "mode": "exact"}, where=WHERE)
    assert torch.equal(oracle.logits(attached.model), untuned)
    before = {name: tensor.clone() for name, tensor in attached.model.named_parameters()}
    drawn = {id(tensor) for tensor in attached.tensors.values()}
    assert 0 < sum(id(tensor) in drawn for _, tensor in attached.model.named_parameters()) < len(before)
    oracle.our_losses(attached, steps=3)
    for name, tensor in attached.model.named_parameters():
        assert torch.equal(tensor, before[name]) == (id(tensor) not in drawn)


def test_that_single_weights_work_as_if_they_were_written_into_the_map(model: Path) -> None:
    params = {"budget": 700, "mode": "exact", "rank": 0, "bottleneck": 0, "new_share": 1}
    attached = oracle.tune(model, "apet", params, where=WHERE)
    oracle.fill(attached)
    changed = oracle.logits(attached.model)
    attached.flow.enabled = False
    for place in attached.places(0):
        module = attached.model.get_submodule(attached.paths[place.site.path])
        assert len(set(place.tensors["index"].tolist())) == len(place.tensors["index"])
        module.get_parameter("weight").data.view(-1)[place.tensors["index"]] += place.tensors["values"].detach()
    assert torch.allclose(oracle.logits(attached.model), changed, atol=1e-6)


def test_that_a_pool_of_lora_pairs_is_lora(model: Path) -> None:
    where = "role in (q, v)"
    params = {"budget": 10_000, "new_share": 1, "bottleneck": 0, "mode": "paper"}
    ours = oracle.tune(model, "apet", params, where=where)
    lora = oracle.tune(model, "lora", {"rank": 8, "alpha": 16}, where=where)
    assert ours.trainable == lora.trainable == 8 * (64 + 48) * 2
    assert torch.allclose(
        torch.tensor(oracle.our_losses(ours)), torch.tensor(oracle.our_losses(lora)), rtol=0, atol=1e-6
    )


def test_that_a_pool_of_one_base_tensor_is_tuning_that_tensor(model: Path) -> None:
    where = 'path == "layers.1.mlp.down_proj"'
    ours = oracle.tune(model, "apet", {"budget": 2_048, "new_share": 0, "mode": "paper"}, where=where)
    full = oracle.tune(model, "full", where=where)
    assert ours.trainable == full.trainable == 32 * 64
    assert oracle.our_losses(ours) == oracle.our_losses(full)


def test_that_a_drawn_prompt_stands_before_the_words(model: Path) -> None:
    params = {"budget": 24_000, "prompt_tokens": 20, "mode": "paper"}
    attached = oracle.tune(model, "apet", params, where=WHERE)
    assert APET.extra_tokens(APET.module.Params(**params)) == 20
    assert next(len(t) for name, t in attached.tensors.items() if name.endswith("tokens")) == 20
    assert oracle.our_losses(attached, steps=8)[-1] < 4.5


def test_that_a_tied_head_is_not_drawn_beside_its_embedding(model: Path) -> None:
    sites = select(find_sites(model), "role in (embed, head)")
    assert oracle.count("apet", {"budget": 10_000, "new_share": 0, "mode": "paper"}, sites) == 64 * 32


def test_that_a_fit_is_exact_where_there_are_single_weights_and_else_takes_what_it_can(sites: tuple[Site, ...]) -> None:
    for budget, mode in ((10, "exact"), (10**6, "paper")):
        fitted = APET.module.fit(APET.module.Params(), sites, budget)  # type: ignore[attr-defined]
        assert (fitted.mode, fitted.budget) == (mode, budget)
    norms = [site for site in sites if site.kind == "norm"]
    with pytest.raises(ValueError, match="fewer than the budget"):
        APET.module.fit(APET.module.Params(), norms, 10)  # type: ignore[attr-defined]
