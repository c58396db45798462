"""What declared tensors cost, whatever the method."""

from dataclasses import replace

import pytest

from studio.api import ParamDecl, Site
from studio.estimate.families import family_of
from studio.estimate.footprint import BOTTOM, TOP, Footprint, measure_footprint
from tests.helpers.estimates import Declared, full, lora, sites, small_decoder, small_encoder

MODEL = small_decoder()
H, MIDDLE, K = MODEL.hidden, MODEL.intermediate, MODEL.kv_heads * MODEL.head_dim


def measure(declared: Declared) -> Footprint:
    return measure_footprint(declared, family_of(MODEL))


def test_that_lora_is_counted_exactly() -> None:
    rank, per_layer = 8, 4 * (H + H) + 2 * (H + K) - 2 * (H + H) + 2 * (H + MIDDLE) + (MIDDLE + H)
    assert measure(lora(MODEL, rank)).trainable == rank * per_layer * MODEL.layers


def test_that_sites_with_one_input_keep_it_once() -> None:
    use = measure(lora(MODEL, 8, ("q", "k", "v"))).use_of(3)
    assert (use.kept, dict(use.inputs)) == (3 * 8, {1.0: H})


def test_that_a_scale_beside_matrices_keeps_what_they_add_too() -> None:
    (site,) = sites(MODEL, ("gate",))[:1]
    decls = (ParamDecl("A", (8, H)), ParamDecl("B", (MIDDLE, 8)), ParamDecl("m", (MIDDLE,), "ones"))
    assert measure(((site, decls),)).use_of(0).kept == 8 + 2 * MIDDLE


def test_that_a_matrix_behind_a_constant_one_does_not_keep_the_input_of_the_site() -> None:
    (site,) = sites(MODEL, ("gate",))[:1]
    decls = (ParamDecl("A", (8, H), role="seeded"), ParamDecl("B", (MIDDLE, 8)))
    use = measure(((site, decls),)).use_of(0)
    assert (use.kept, use.inputs, use.cast) == (8, (), 8 * (H + MIDDLE))


def test_that_an_edited_weight_is_kept_and_its_tensors_are_not_cast() -> None:
    (site,) = sites(MODEL, ("gate",))[:1]
    declared = ((site, (ParamDecl("values", (5,)), ParamDecl("index", (5,), role="fixed", dtype="int64"))),)
    use = measure_footprint(declared, family_of(MODEL), {site.path: ("weight", "change", "change")}).use_of(0)
    assert (use.kept, use.cast, dict(use.inputs)) == (0, 0, {4.0: H})
    assert (use.edited, use.given, use.changes) == (H * MIDDLE, H * MIDDLE, 2 * H * MIDDLE)
    assert use.bytes_once(2) == (2 + 4 + 8) * H * MIDDLE
    assert use.bytes_once(4) == (4 + 8) * H * MIDDLE


def test_that_tensors_behind_and_before_the_layers_are_told_apart() -> None:
    head = Site("lm_head", "linear", "head", None, H, 100, (100, H), False)
    embed = Site("embed_tokens", "embedding", "embed", None, 100, H, (100, H), False)
    apart = ((head, (ParamDecl("weight", (100, H), base="weight"),)), (embed, (ParamDecl("d", (7,)),)))
    assert (measure(apart).top, measure(apart).bottom) == (100 * H, 7)


def test_that_a_bias_keeps_nothing_and_a_scale_keeps_what_it_scales() -> None:
    (site,) = sites(MODEL, ("q",))[:1]
    bias = measure(((site, (ParamDecl("b", (H,), "zeros"),)),))
    scale = measure(((site, (ParamDecl("s", (H,), "ones"),)),))
    assert (bias.use_of(0).kept, scale.use_of(0).kept) == (0, H)


def test_that_a_trained_norm_keeps_nothing_but_what_every_norm_keeps() -> None:
    norm = Site("layers.2.input_layernorm", "norm", "norm1", 2, H, H, (H,), False)
    assert measure(((norm, (ParamDecl("weight", (H,), base="weight"),)),)).use_of(2).kept == 0


def test_that_shared_tensors_are_counted_once_and_cast_at_each_site() -> None:
    decl = ParamDecl("A", (8, H), share="all")
    used = measure(tuple((site, (decl,)) for site in sites(MODEL, ("q",))))
    assert used.trainable == 8 * H
    assert sum(use.cast for use in used.layers.values()) == 8 * H * MODEL.layers


def test_that_base_tensors_are_told_apart() -> None:
    used = measure(full(MODEL))
    assert used.base == used.trainable == used.base_matrices
    assert (used.matrices, used.sites) == (0, 0)


def test_that_a_tied_tensor_is_one_tensor() -> None:
    embed = Site("embed_tokens", "embedding", "embed", None, 100, H, (100, H), False)
    head = replace(embed, path="lm_head", kind="linear", role="head", tied_to="embed_tokens")
    weight = (ParamDecl("weight", (100, H), base="weight"),)
    assert measure(((embed, weight), (head, weight))).trainable == 100 * H


@pytest.mark.parametrize(
    ("role", "layer", "expected"),
    [("embed", None, BOTTOM), ("norm", None, TOP), ("head", None, TOP), ("down", 4, (4.0, 5.0)), ("odd", 4, (4.0, 0))],
)
def test_that_the_backward_pass_ends_at_the_lowest_site(
    role: str, layer: int | None, expected: tuple[float, float]
) -> None:
    site = Site("x", "linear", role, layer, H, H, (H, H), False)
    assert measure(((site, (ParamDecl("A", (8, H)),)),)).lowest == expected


def test_that_norms_of_encoders_come_after_what_they_normalise() -> None:
    family = family_of(small_encoder())
    norm = Site("encoder.layer.1.output.LayerNorm", "norm", "norm2", 1, 384, 384, (384,), True)
    used = measure_footprint(((norm, (ParamDecl("weight", (384,), base="weight"),)),), family)
    assert used.lowest == (1.0, 6.0)
    assert used.use_of(1).kept == 0


def test_that_nothing_declared_costs_nothing() -> None:
    used = measure(())
    assert (used.trainable, used.lowest) == (0, TOP)
