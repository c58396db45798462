"""Intrinsic dimension: every tensor moves by its own Fastfood projection of the shared coordinates."""

from collections.abc import Mapping
from typing import Any

import torch
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
        change: Any = Fastfood.apply(tensors["theta"], base.numel(), key)  # type: ignore[no-untyped-call]
        return (
            torch.addcmul(base, change.view_as(base), tensors[name]) if name in tensors else base + change.view_as(base)
        )

    return moved("weight", weight), None if bias is None else moved("bias", bias)
