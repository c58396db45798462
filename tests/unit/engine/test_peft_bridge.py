"""What the host makes of peft's tuners: every tensor as declared, in every form that changes the shapes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from studio.api import Site
from studio.core.errors import UserError
from studio.engine.attach import Attached, Placed, attach
from studio.engine.flow import bare
from studio.engine.merge import merge_into_base, merge_problems
from studio.engine.peft_bridge import peft_tensors
from studio.extensions.bridge import BridgedMethod, bridged, load_bridged
from studio.extensions.methods import load_here
from studio.extensions.registry import discover
from studio.models.sites import find_sites
from studio.models.where import select
from tests.helpers import tiny
from tests.helpers.bridged import PARAMS

IDS = torch.tensor([[5, 9, 11, 7, 30, 12]])
METHODS = {plugin.id: load_bridged(plugin) for plugin in bridged()}
# what else changes a tuner's shapes, besides the sizes that the tiny models need
FORMS: list[tuple[str, dict[str, Any]]] = [
    *((name, PARAMS.get(name, {})) for name in METHODS),
    ("peft-boft", {"boft_block_size": 16}),
    ("peft-c3a", {"block_size": 16}),
    ("peft-deft", {"para": True, "r": 2}),
    ("peft-deft", {"decomposition_method": "qr", "alpha": 4}),
    ("peft-glora", {"config_A_B": "vector", "config_C": "vector", "config_D_E": "vector"}),
    ("peft-glora", {"config_A_B": "constant", "config_C": "none", "config_D_E": "none"}),
    ("peft-glora", {"config_A_B": "none", "config_C": "lora", "r": 2}),
    ("peft-gralora", {"r": 8, "gralora_k": 4, "hybrid_r": 3}),
    ("peft-hra", {"r": 2, "apply_GS": True}),
    ("peft-lokr", {"r": 2, "decompose_both": True}),
    ("peft-lokr", {"r": 1, "decompose_factor": 4}),
    ("peft-miss", {"r": 8, "init_weights": "bat"}),
    ("peft-miss", {"r": 8, "init_weights": "mini", "mini_r": 4}),
    ("peft-oft", {"oft_block_size": 4, "block_share": True, "coft": True}),
    ("peft-osf", {"effective_rank": 12}),
    ("peft-peanut", {"r": 3}),
    ("peft-psoft", {"r": 4, "psoft_orth": False, "psoft_mag_a": False}),
    ("peft-randlora", {"r": 5, "sparse": True}),
    ("peft-road", {"group_size": 16, "variant": "road_2"}),
    ("peft-road", {"group_size": 16, "variant": "road_4"}),
    ("peft-supertuning", {"sparsity": 0.95, "r": 2}),
    ("peft-tinylora", {"u": 8, "weight_tying": 0.5}),
    ("peft-tinylora", {"u": 8, "weight_tying": 1.0, "r": 3}),
    ("peft-vblora", {"vector_length": 16, "num_vectors": 6, "r": 2}),
    ("peft-waveft", {"n_frequency": 30, "wavelet_family": "db2"}),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "llama": tiny.make_llama(root / "llama"),
        "bert": tiny.make_bert(root / "bert"),
        "gpt2": _gpt2(root / "gpt2"),
    }


def _gpt2(folder: Path) -> Path:
    """A model whose weights are stored d_in first."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=2, eos_token_id=3)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def load(folder: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    from transformers import AutoModel

    model: nn.Module = AutoModel.from_pretrained(folder, dtype=dtype).eval()
    return model.requires_grad_(False)


def attached_to(
    folder: Path, *placed: tuple[str, dict[str, Any], str | None], dtype: torch.dtype = torch.float32
) -> Attached:
    sites = find_sites(folder)
    items = []
    for use, raw, where in placed:
        method = load_here(discover().get(use, "method"))
        params, problems = method.parse(raw, "params")
        assert params is not None, problems
        chosen = tuple(s for s in select(sites, where or method.traits.where) if method.traits.takes(s))
        items.append(Placed(method, params, chosen))
    return attach(load(folder, dtype), items, sites=sites, train_head=False, seed=3)


def hidden(model: nn.Module) -> Tensor:
    out: Tensor = model(input_ids=IDS).last_hidden_state
    return out


def saved_names(attached: Attached, site: Site, name: str) -> set[str]:
    path = attached.paths[site.path]
    return {f"base_model.model.{path}.{name}", f"base_model.{name}"}


@pytest.mark.parametrize("family", ["llama", "bert", "gpt2"])
@pytest.mark.parametrize(("use", "params"), FORMS, ids=[f"{use}-{i}" for i, (use, _) in enumerate(FORMS)])
def test_that_peft_makes_and_saves_exactly_what_is_declared(
    models: dict[str, Path], family: str, use: str, params: dict[str, Any]
) -> None:
    attached = attached_to(models[family], (use, params, None))
    if not attached.bridges:
        assert family == "gpt2"
        assert not METHODS[use].entry["conv1d"]
        return
    bridge = attached.bridges[0]
    theirs = {name: tuple(tensor.shape) for name, tensor in peft_tensors(bridge).items()}
    found = set()
    for site, decls in attached.declared[0]:
        for decl in decls:
            names = saved_names(attached, site, decl.name) & theirs.keys()
            assert bool(names) == (decl.role in ("trained", "fixed")), decl.name
            assert all(theirs[name] == decl.shape for name in names)
            found |= names
    tied = {
        name for name in theirs if not name.startswith(tuple(f"base_model.model.{p}." for p in bridge.paths.values()))
    }
    assert theirs.keys() - found <= tied
    assert {id(t) for t in attached.tensors.values()} == {
        id(p) for p in (*attached.model.parameters(), *bridge.tuner.parameters()) if p.requires_grad
    }


@pytest.mark.parametrize("family", ["llama", "bert"])
@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.id)
def test_that_the_hidden_states_can_be_moved_to_a_target_and_back(
    models: dict[str, Path], family: str, method: BridgedMethod
) -> None:
    attached = attached_to(models[family], (method.id, PARAMS.get(method.id, {}), None))
    base = hidden(load(models[family]))
    target = base + torch.randn(base.shape, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(attached.tensors.values(), lr=method.traits.learning_rate / 50)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = (hidden(attached.model) - target).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    idle = {key for key, tensor in attached.tensors.items() if tensor.grad is None or not tensor.grad.any()}
    # attention does not see a shift of all keys, nor the norm after a sum one of all its features, and there is no
    # bias to scale in a new BERT
    unseen = (".key.", "glora_D", ".output.dense.glora_E")
    assert [key for key in idle if not any(part in key for part in unseen)] == []
    with torch.no_grad(), bare(attached.model):
        assert torch.equal(hidden(attached.model), base)
    tuned = hidden(attached.model)
    if not merge_problems(attached):
        assert (hidden(merge_into_base(attached)) - tuned).abs().max().item() < 1e-5


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.id)
def test_that_masters_are_fp32_beside_a_bf16_base(models: dict[str, Path], method: BridgedMethod) -> None:
    placed = (method.id, PARAMS.get(method.id, {}), None)
    attached = attached_to(models["llama"], placed, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in attached.tensors.values()} == {torch.float32}
    out = hidden(attached.model)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(tensor.grad is not None for tensor in attached.tensors.values())
    if not merge_problems(attached):
        merged = merge_into_base(attached)
        assert {parameter.dtype for parameter in merged.parameters()} == {torch.bfloat16}


def test_that_osf_keeps_its_gradients_off_the_fixed_directions_in_bf16_too(models: dict[str, Path]) -> None:
    attached = attached_to(models["llama"], ("peft-osf", {}, 'path == "layers.0.mlp.up_proj"'), dtype=torch.bfloat16)
    hidden(attached.model).float().square().sum().backward()  # type: ignore[no-untyped-call]
    gradient = attached.tensors["0.layers.0.mlp.up_proj.osf_svd_params.U_low"].grad
    kept = attached.buffers["0.layers.0.mlp.up_proj._osf_U_high"]
    assert gradient is not None
    assert (kept.T @ gradient).norm().item() < 1e-2 * gradient.norm().item()


def test_that_several_tuners_and_methods_work_beside_each_other(models: dict[str, Path]) -> None:
    attached = attached_to(
        models["llama"],
        ("peft-loha", {"r": 2}, "role == q"),
        ("peft-loha", {"r": 3}, "role == k"),
        ("peft-vera", {"r": 8}, "role == v"),
        ("lora", {"rank": 2}, "role == o"),
    )
    base = hidden(load(models["llama"]))
    optimizer = torch.optim.Adam(attached.tensors.values(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        hidden(attached.model).square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert all(tensor.grad is not None and bool(tensor.grad.abs().sum()) for tensor in attached.tensors.values())
    tuned = hidden(attached.model)
    with torch.no_grad(), bare(attached.model):
        assert torch.equal(hidden(attached.model), base)
    assert torch.equal(hidden(attached.model), tuned)
    assert (hidden(merge_into_base(attached)) - tuned).abs().max().item() < 1e-5


def test_that_the_seed_decides_what_is_drawn(models: dict[str, Path]) -> None:
    def made() -> Sequence[Tensor]:
        attached = attached_to(models["llama"], ("peft-vblora", PARAMS["peft-vblora"], None))
        return list(attached.tensors.values())

    torch.manual_seed(1)
    first, state = made(), torch.get_rng_state()
    assert all(torch.equal(a, b) for a, b in zip(first, made(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_that_a_bridged_method_has_its_sites_to_itself(models: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="to itself"):
        attached_to(models["llama"], ("peft-loha", {}, "role == q"), ("lora", {}, "role in (q, v)"))
