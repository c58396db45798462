"""IAA: y + A(y) at a sub-layer's last map, + C(x) where an aside module ends."""

from collections.abc import Mapping

from studio_plugins.iaa.params import Params
from torch import Tensor
from torch.nn.functional import gelu, linear

from studio.api import Context, Site


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """An inner adapter on y and an aside module on x; one that goes around several maps leaves its hidden layer."""
    cast = {name: tensor.to(y.dtype) for name, tensor in tensors.items()}
    if "aside.down.weight" in cast:
        ctx.memory[site.layer] = gelu(_half(cast, "aside.down", x))
    changed = y
    if "inner.up.weight" in cast:
        changed = changed + _half(cast, "inner.up", gelu(_half(cast, "inner.down", y)))
    if "aside.up.weight" in cast:
        changed = changed + _half(cast, "aside.up", ctx.memory[site.layer])
    return changed


def _half(tensors: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
