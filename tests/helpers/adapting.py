"""Methods on tiny models of any family, and the sites of published sizes without their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from studio.api import Site
from studio.engine.attach import Attached, Placed, attach
from studio.extensions.declaring import count_tensors, declare_at
from studio.extensions.loader import load_method
from studio.extensions.registry import discover
from studio.models.header import TensorInfo
from studio.models.sites import find_sites, sites_of
from studio.models.where import select


def published(architecture: str, **config: Any) -> tuple[Site, ...]:
    """The sites of a transformers architecture of the given size, built without weights."""
    import transformers

    cls = getattr(transformers, architecture)
    settings = cls.config_class(**config)
    with torch.device("meta"):
        state = cls(settings).state_dict()
    header = {name: TensorInfo("float32", tuple(t.shape), 4 * t.numel(), "") for name, t in state.items()}
    return sites_of(settings.to_dict(), header)


def count(use: str, params: Mapping[str, Any], sites: tuple[Site, ...], *, where: str | None = None) -> int:
    """What a method trains over the sites of its default placement, or of another one."""
    method = load_method(discover().get(use, "method"))
    chosen = [site for site in select(sites, where or method.traits.where) if method.traits.takes(site)]
    return sum(count_tensors([declare_at(method, method.module.Params.model_validate(params), chosen)]).values())


def tune(model: nn.Module, folder: Path, *uses: tuple[str, Mapping[str, Any]], where: str | None = None) -> Attached:
    """Methods with their parameters on a model stored in ``folder``, each at its default placement or at ``where``."""
    sites = find_sites(folder)
    placed = []
    for use, params in uses:
        method = load_method(discover().get(use, "method"))
        chosen = tuple(s for s in select(sites, where or method.traits.where) if method.traits.takes(s))
        placed.append(Placed(method, method.module.Params.model_validate(params), chosen))
    return attach(model.requires_grad_(False).eval(), placed, sites=sites, train_head=False, seed=0)


def load(folder: Path) -> nn.Module:
    """The tiny decoder or encoder stored in ``folder``."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    decoder = AutoConfig.from_pretrained(folder).model_type == "llama"
    model: nn.Module = (AutoModelForCausalLM if decoder else AutoModel).from_pretrained(folder)
    return model.eval()


def answer(model: nn.Module, ids: Tensor | None = None, **inputs: Any) -> Tensor:
    """The first tensor that the model puts out for token ids, some by default."""
    output: Tensor = model(input_ids=some_ids() if ids is None else ids, use_cache=False, **inputs)[0]
    return output


def some_ids(seed: int = 0) -> Tensor:
    """Token ids (2, 7) without special ones."""
    return torch.randint(5, 40, (2, 7), generator=torch.Generator().manual_seed(seed))


def stir(attached: Attached, *, std: float = 0.1, seed: int = 1) -> dict[str, Tensor]:
    """Random changes to every trained tensor, as training would make; the tensors by name."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in attached.tensors.values():
            tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=std)
    return {name: tensor.detach() for name, tensor in attached.tensors.items()}
