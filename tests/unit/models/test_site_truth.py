"""Sites found without torch, checked against the real modules of tiny models of every family."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from studio.api import Site
from studio.models.families import FAMILIES as KNOWN
from studio.models.header import TensorInfo
from studio.models.inspect import inspect_model
from studio.models.sites import find_sites, notice, sites_of
from studio.models.where import select
from tests.helpers.families import FAMILIES, HEADS, HIDDEN, VOCAB, build, example_inputs, tiny

CONTAINERS = ("block", "attention", "ffn", "model")
CONVOLUTIONAL = ("resnet", "resnet-basic", "convnext")
MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe")
# their feed-forward is spread over the block, or its module adds the residual stream to it
WITHOUT_FFN = {
    "opt", "bloom", "mpt", "bert", "roberta", "xlm-roberta", "camembert", "electra", "deberta-v2", "bart", "mbart",
    "pegasus", "whisper", *CONVOLUTIONAL,
}  # fmt: skip
# parameters that belong to no map, embedding or norm: tokens, scales, learned tables, and a weight that is
# recomputed from two tensors at each call
NO_SITES = (
    "cls_token", "distillation_token", "class_embedding", "position_embeddings", "masked_spec_embed", "logit_scale",
    "layer_scale_parameter", "relative_position_bias_table", "weight.original0", "weight.original1", "bias",
)  # fmt: skip


@dataclass(frozen=True)
class Saved:
    """A family's tiny model, as it lives and as it is stored."""

    family: str
    model: Any
    folder: Path
    sites: tuple[Site, ...]


Saver = Callable[[str], Saved]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saver:
    """Builds a family's tiny model once and saves it."""
    built: dict[str, Saved] = {}

    def get(family: str) -> Saved:
        if family not in built:
            model, folder = build(family), tmp_path_factory.mktemp(family)
            model.save_pretrained(folder)
            built[family] = Saved(family, model, folder, find_sites(folder))
        return built[family]

    return get


def resolve(model: Any, path: str) -> Any:
    """The live module of a site; for experts, their tensor."""
    from torch import nn

    from studio.engine.live_paths import resolve_module

    parent, _, name = path.rpartition(".")
    if parent.endswith(".experts"):
        parameter = getattr(resolve_module(model, parent)[1], name)
        assert isinstance(parameter, nn.Parameter)
        return parameter
    return resolve_module(model, path)[1] if path else model.base_model


def test_that_every_family_is_checked() -> None:
    import transformers

    assert {getattr(transformers, tiny(family).architecture).config_class.model_type for family in FAMILIES} == {*KNOWN}


@pytest.mark.parametrize("family", FAMILIES)
def test_that_each_site_is_the_module_it_says(family: str, saved: Saver) -> None:
    it = saved(family)
    for site in it.sites:
        found = resolve(it.model, site.path)
        assert site.role != "other", site
        if site.kind in CONTAINERS:
            assert (site.shape, site.role) == ((), site.kind)
        elif site.role.startswith("expert_"):
            assert (site.kind, tuple(found.shape)) == ("linear", site.shape)
            assert (site.copies, site.d_out, site.d_in) == site.shape
        else:
            assert tuple(found.weight.shape) == site.shape, site
            assert (getattr(found, "bias", None) is not None) == site.has_bias, site
            assert (site.copies, site.d_kv) == (1, 0)
            check_sizes(site, found)


def check_sizes(site: Site, module: Any) -> None:
    from torch import nn

    kind = type(module).__name__
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        assert site.kind == "conv"
        assert (site.d_in, site.d_out) == (module.in_channels, module.out_channels)
    elif hasattr(module, "in_features"):
        assert (site.kind, site.transposed) == ("linear", False)
        assert (site.d_in, site.d_out) == (module.in_features, module.out_features)
    elif kind == "Conv1D":
        assert (site.kind, site.transposed) == ("linear", True)
        assert (site.d_in, site.d_out) == (module.nx, module.nf)
    elif hasattr(module, "num_embeddings"):
        assert site.kind == "embedding"
        assert (site.d_in, site.d_out) == (module.num_embeddings, module.embedding_dim)
    elif site.role == "router":
        assert (site.kind, site.d_in, site.d_out) == ("linear", module.hidden_dim, module.num_experts)
    else:
        assert "Norm" in kind
        assert (site.kind, site.d_in) == ("norm", module.weight.numel())


@pytest.mark.parametrize("family", FAMILIES)
def test_that_every_weight_of_the_backbone_is_a_site(family: str, saved: Saver) -> None:
    it = saved(family)
    paths = {site.path for site in it.sites}
    for name, parameter in it.model.base_model.named_parameters():
        path = name.removeprefix(f"{it.model.base_model_prefix}.").removesuffix(".weight")
        assert path in paths or name.endswith(NO_SITES), (name, tuple(parameter.shape))


@pytest.mark.parametrize("family", FAMILIES)
def test_that_the_sites_fit_the_backbone_loaded_alone(family: str, saved: Saver) -> None:
    from transformers import AutoModel

    it = saved(family)
    backbone = AutoModel.from_config(it.model.config)  # type: ignore[no-untyped-call]
    for site in it.sites:
        if site.role not in ("head", "pooler"):
            resolve(backbone, site.path)


@pytest.mark.parametrize("family", FAMILIES)
def test_that_live_names_tell_the_same_sites_as_stored_ones(family: str, saved: Saver) -> None:
    it = saved(family)
    config = json.loads((it.folder / "config.json").read_text())
    header = {
        name: TensorInfo("float32", tuple(tensor.shape), tensor.nbytes, "model.safetensors")
        for name, tensor in it.model.state_dict().items()
    }
    assert sites_of(config, header) == it.sites


@pytest.mark.parametrize("family", FAMILIES)
def test_that_every_block_has_the_roles_of_its_family(family: str, saved: Saver) -> None:
    sites, expected = saved(family).sites, set(tiny(family).roles.split())
    layers = {site.layer for site in sites if site.layer is not None}
    assert layers == set(range(len(layers)))
    for layer in layers:
        inside = [site for site in sites if site.layer == layer]
        roles = {site.role for site in inside}
        assert expected <= roles, (layer, expected - roles)
        assert not {"q", "qkv"} <= roles
        assert sum(site.kind == "block" for site in inside) == 1
        assert any(site.kind == "attention" for site in inside) == (not {"q", "qkv"}.isdisjoint(expected))
        assert sum(site.kind == "ffn" for site in inside) == (family not in WITHOUT_FFN)


@pytest.mark.parametrize("family", FAMILIES)
def test_that_containers_pass_hidden_states_of_their_width(family: str, saved: Saver) -> None:
    it = saved(family)
    containers = [site for site in it.sites if site.kind in ("block", "attention", "ffn")]
    passed = record(it, containers)
    for site in containers:
        given, returned = passed[site.path]
        channels = 1 if given.ndim == 4 else -1
        assert (given.shape[channels], returned.shape[channels]) == (site.d_in, site.d_out), site


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in WITHOUT_FFN])
def test_that_a_feed_forward_starts_with_its_first_map_and_ends_with_its_last(family: str, saved: Saver) -> None:
    import torch

    it = saved(family)
    passed = record(it, [site for site in it.sites if site.kind in ("ffn", "linear") and "expert" not in site.path])
    for ffn in (site for site in it.sites if site.kind == "ffn" and family not in MIXTURES):
        inside = {site.role: passed[site.path] for site in it.sites if site.path.startswith(f"{ffn.path}.")}
        given, returned = passed[ffn.path]
        first = next(inside[role] for role in ("gate", "gate_up", "fc1") if role in inside)
        last = inside.get("down") or inside["fc2"]
        assert torch.equal(given.flatten(0, -2), first[0].flatten(0, -2))
        assert torch.equal(returned.flatten(0, -2), last[1].flatten(0, -2))


def record(it: Saved, sites: list[Site]) -> dict[str, tuple[Any, Any]]:
    """The first input and the first output of each site's module in one forward pass."""
    import torch

    passed: dict[str, tuple[Any, Any]] = {}

    def hook(path: str) -> Callable[..., None]:
        def keep(_module: Any, args: Any, kwargs: Any, output: Any) -> None:
            given = args[0] if args else next(iter(kwargs.values()))
            passed[path] = (given, output if isinstance(output, torch.Tensor) else output[0])

        return keep

    handles = [resolve(it.model, site.path).register_forward_hook(hook(site.path), with_kwargs=True) for site in sites]
    with torch.no_grad():
        it.model(**example_inputs(it.family))
    for handle in handles:
        handle.remove()
    return passed


@pytest.mark.parametrize("family", FAMILIES)
def test_that_an_attention_tells_the_width_of_its_keys(family: str, saved: Saver) -> None:
    it = saved(family)
    facts = inspect_model(it.folder)
    for site in it.sites:
        if site.kind == "attention":
            towers = family in ("clip", "swin")  # as many key heads as heads, and a width of its own in each part
            width = site.d_in if towers else facts.kv_heads * facts.head_dim
            home = sys.modules[type(resolve(it.model, site.path)).__module__]
            assert site.d_kv == (width if hasattr(home, "ALL_ATTENTION_FUNCTIONS") else 0), site


@pytest.mark.parametrize("family", FAMILIES)
def test_that_the_facts_are_those_of_the_live_model(family: str, saved: Saver) -> None:
    it = saved(family)
    facts = inspect_model(it.folder)
    assert facts.params == sum(p.numel() for p in it.model.parameters())
    has_text = tiny(family).inputs not in ("image", "spectrogram")
    heads = 1 if family.startswith(("resnet", "convnext")) else HEADS
    assert (facts.hidden, facts.heads, facts.vocab) == (HIDDEN, heads, VOCAB if has_text else 0)
    assert facts.architecture == tiny(family).architecture
    assert facts.model_type == it.model.config.model_type
    assert facts.layers == len({site.path for site in it.sites if site.kind == "block"})
    assert notice(it.folder) is None
    if facts.kind in ("decoder", "encoder-decoder"):
        head, embedding = it.model.get_output_embeddings(), it.model.get_input_embeddings()
        assert facts.tied_embeddings == (head.weight is embedding.weight)


def test_that_a_shared_tensor_is_offered_through_every_module_that_uses_it(saved: Saver) -> None:
    it = saved("t5")
    tied = {site.path: site.tied_to for site in it.sites if site.tied_to}
    assert tied == dict.fromkeys(("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"), "shared")
    for path, owner in tied.items():
        assert resolve(it.model, path).weight is resolve(it.model, owner).weight


def test_that_a_backbone_saved_alone_has_the_same_sites(saved: Saver, tmp_path: Path) -> None:
    it = saved("gpt2")
    it.model.base_model.save_pretrained(tmp_path)
    assert find_sites(tmp_path) == it.sites


def test_that_blocks_of_all_stages_and_towers_are_numbered_in_order(saved: Saver) -> None:
    blocks = {
        family: [(site.path, site.d_in, site.d_out) for site in saved(family).sites if site.kind == "block"]
        for family in ("swin", "resnet", "clip", "whisper")
    }
    assert blocks["swin"] == [
        (f"encoder.layers.{stage}.blocks.{index}", width, width)
        for stage, width in enumerate((16, 32))
        for index in range(2)
    ]
    stage = "encoder.stages"
    assert blocks["resnet"] == [
        (f"{stage}.0.layers.0", 8, 16), (f"{stage}.1.layers.0", 16, 32), (f"{stage}.1.layers.1", 32, 32),
    ]  # fmt: skip
    assert blocks["clip"] == [
        (f"{tower}.encoder.layers.{index}", width, width)
        for tower, width in (("text_model", 32), ("vision_model", 24))
        for index in range(2)
    ]
    assert [path for path, *_ in blocks["whisper"]] == [
        f"{tower}.layers.{index}" for tower in ("encoder", "decoder") for index in range(2)
    ]


@pytest.mark.parametrize("family", MIXTURES)
def test_that_experts_and_routers_come_only_when_named(family: str, saved: Saver) -> None:
    sites = saved(family).sites
    roles = {site.role for site in select(sites, "kind == linear and layer >= 0")}
    assert roles == {"q", "k", "v", "o"} | ({"gate", "up", "down"} if family == "qwen2_moe" else set())
    assert {site.copies for site in select(sites, "role in (expert_gate_up, expert_down)")} == {3}
    assert select(sites, "role == router")
