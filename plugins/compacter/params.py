"""Compacter: hypercomplex adapters after attention and feed-forward, and the norms."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import model_validator

from studio.api import ParamDecl, Site, Traits, count_over, largest, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Widths, ranks and sharing of the hypercomplex layers."""

    bottleneck: int = ui(24, lo=1, hi=8192, label="Bottleneck", help="Width of the adapter's hidden layer.")
    divisions: int = ui(
        4, lo=1, hi=64, label="Divisions", help="The number n of Kronecker terms; n divides every width."
    )
    rank: int = ui(1, lo=1, hi=64, label="Rank", help="Rank of the second factor of each term.", advanced=True)
    factors: Literal["shared", "own"] = ui(
        "shared", label="First factors", help="One set of n x n matrices for the whole model, or one for each layer.",
        advanced=True,
    )  # fmt: skip
    norms: bool = ui(True, label="Train norms", help="Whether the layer norms are trained as well.", advanced=True)

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.bottleneck % self.divisions:
            nearest = self.divisions * max(1, round(self.bottleneck / self.divisions))
            raise ValueError(f"{self.divisions} divisions need a bottleneck that they divide, such as {nearest}")
        return self


traits = Traits(
    kinds=("linear", "norm"),
    where='kind == norm or role in (o, down, fc2) and path not in ("*EncDecAttention*", "*encoder_attn*")',
    identity_at_init=False,
    trains_base=True,
    learning_rate=3e-3,
)


def declare(params: Params, site: Site) -> Sequence[ParamDecl]:
    """A norm's own tensors, or two hypercomplex layers (section 3.2); n has to divide the site's width."""
    if site.kind == "norm":
        return _norm(site) if params.norms else ()
    n, width, size = params.divisions, site.d_out, params.bottleneck
    if width % n:
        raise ValueError(f"{n} divisions do not divide the width {width}; choose another number")
    return (*_factors(params), *_layer(params, "down", width, size), *_layer(params, "up", size, width))


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The widest bottleneck within the budget."""
    n = params.divisions

    def make(size: int) -> Params:
        return params.model_copy(update={"bottleneck": n * size})

    return largest(make, lambda sized: count_over(declare, sized, sites), budget, most=8192 // n)


def _norm(site: Site) -> tuple[ParamDecl, ...]:
    weight = ParamDecl("weight", site.shape, base="weight", decay=False)
    return (weight, ParamDecl("bias", (site.d_out,), base="bias", decay=False)) if site.has_bias else (weight,)


def _factors(params: Params) -> tuple[ParamDecl, ...]:
    """The matrices A (n, n, n): one set for the model, or one for each layer."""
    n = params.divisions
    names = ("A",) if params.factors == "shared" else ("down.A", "up.A")
    share = "phm" if params.factors == "shared" else None
    return tuple(ParamDecl(name, (n, n, n), init="normal:1e-4", share=share) for name in names)


def _layer(params: Params, name: str, d_in: int, d_out: int) -> tuple[ParamDecl, ...]:
    """s (n, d_in / n, R), t (n, d_out / n, R) and a bias; s and t by Glorot with a gain of sqrt 2."""
    n, rank = params.divisions, params.rank
    return (
        ParamDecl(f"{name}.s", (n, d_in // n, rank), init=_glorot(d_in // n, rank)),
        ParamDecl(f"{name}.t", (n, d_out // n, rank), init=_glorot(d_out // n, rank)),
        ParamDecl(f"{name}.bias", (d_out,), decay=False),
    )


def _glorot(rows: int, columns: int) -> str:
    return f"uniform:{(12 / (rows + columns)) ** 0.5}"
