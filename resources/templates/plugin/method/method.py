"""The method's mathematics: y + B A x."""

from collections.abc import Mapping

from studio_plugins.my_method.params import Params
from torch import Tensor
from torch.nn.functional import linear

from studio.api import Context, Site


def forward(params: Params, site: Site, tensors: Mapping[str, Tensor], x: Tensor, y: Tensor, ctx: Context) -> Tensor:
    """The site's new output; x is (..., d_in), y what the base model makes of it, (..., d_out)."""
    return y + linear(linear(x, tensors["A"].to(x.dtype)), tensors["B"].to(x.dtype))


def merge(
    params: Params, site: Site, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The weight (d_out, d_in) and bias, in fp32, that have the same effect without the extra tensors."""
    return weight + tensors["B"] @ tensors["A"], bias
