"""The drawing of a model and of where a method sits in it."""

from studio.api import Site
from studio.gui.screens.methods.block import Beside, plan_drawing, words
from tests.gui.fake_backend import MODEL, llama_sites
from tests.gui.gallery import all_sites


def chosen(kind: str) -> set[str]:
    return {site.path for site in all_sites(MODEL) if site.kind == kind}


def test_that_the_drawing_orders_a_block_as_data_flows() -> None:
    sites = llama_sites(4)
    drawing = plan_drawing(sites, {site.path for site in sites if site.role == "q" and site.layer == 1})
    assert [[box.role for box in column] for column in drawing.block] == [
        ["q", "k", "v"],
        ["o"],
        ["gate", "up"],
        ["down"],
    ]
    assert drawing.layers == (False, True, False, False)
    assert words(drawing) == "Chosen: q (1 of 4)"


def test_that_containers_are_frames_drawn_only_when_something_sits_there() -> None:
    sites = all_sites(MODEL)
    assert plan_drawing(sites, set()).frames == ()
    drawing = plan_drawing(sites, chosen("attention") | chosen("ffn"))
    assert [(frame.role, frame.note, frame.first, frame.last) for frame in drawing.frames] == [
        ("attention", "30/30", 1, 2),
        ("ffn", "30/30", 4, 5),
    ]
    assert words(drawing) == "Chosen: attention (30 of 30, keys 192 wide), ffn (30 of 30)"
    assert all(drawing.layers)


def test_that_a_whole_block_and_the_models_output_are_marked() -> None:
    drawing = plan_drawing(all_sites(MODEL), chosen("block") | chosen("model"))
    assert drawing.whole_block == "30/30"
    assert [box.role for box in drawing.after] == ["norm", "output"]


def test_that_virtual_tokens_stand_before_the_first_block() -> None:
    drawing = plan_drawing(all_sites(MODEL), chosen("model"), Beside(tokens=20))
    assert [(box.role, box.note) for box in drawing.before] == [("soft prompt", "20 tokens"), ("embed", "1")]
    assert [box.role for box in drawing.after] == ["norm"]


def test_that_a_side_network_is_told_beside_the_blocks() -> None:
    drawing = plan_drawing(all_sites(MODEL), chosen("model"), Beside(side_network=True))
    assert words(drawing) == "Chosen: a side network"


def test_that_convolutions_and_experts_have_their_columns() -> None:
    sites = [
        Site("layers.0.conv", "conv", "conv", 0, 8, 8, (8, 8, 3, 3), has_bias=False),
        Site("layers.0.router", "linear", "router", 0, 8, 4, (4, 8), has_bias=False),
        Site("layers.0.experts.up", "linear", "expert_gate_up", 0, 8, 16, (4, 16, 8), has_bias=False, copies=4),
        Site("layers.0.experts.down", "linear", "expert_down", 0, 16, 8, (4, 8, 16), has_bias=False, copies=4),
        Site("layers.0.odd", "linear", "mixer", 0, 8, 8, (8, 8), has_bias=False),
    ]
    drawing = plan_drawing(sites, {"layers.0.experts.up"})
    assert [[box.note for box in column] for column in drawing.block] == [["1"], ["1"], ["1/1 ×4"], ["1 ×4"], ["1"]]
    assert words(drawing) == "Chosen: expert_gate_up (1 of 1 ×4)"
