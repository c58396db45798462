"""Intrinsic dimension: every tensor moves by its own Fastfood projection of the shared coordinates."""

from collections.abc import Mapping

from studio_plugins.intrinsic_said.fastfood import Fastfood
from studio_plugins.intrinsic_said.params import Params
from torch import Tensor

from studio.api import Site


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """theta_0 + lambda P(theta_d) for the weight and for the bias (equation 3)."""

    def moved(name: str, base: Tensor) -> Tensor:
        key = f"{params.seed}:{site.path}.{name}"
        change: Tensor = Fastfood.apply(tensors["theta"], base.numel(), key)
        return base + tensors.get(name, 1.0) * change.view_as(base)

    return moved("weight", weight), None if bias is None else moved("bias", bias)
