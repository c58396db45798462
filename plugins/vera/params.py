"""VeRA: two vectors per matrix, around one pair of random matrices for all."""

from collections.abc import Mapping, Sequence

from studio.api import ParamDecl, Site, Traits, fit_field, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Size of the shared pair and where the vector between its matrices starts."""

    rank: int = ui(256, lo=1, hi=8192, label="Rank", help="Rank r of the random pair; one parameter each per matrix.")
    d_initial: float = ui(
        0.1, lo=1e-8, hi=10, label="Start of d", help="Value that every entry of d starts from.", advanced=True
    )


traits = Traits(
    kinds=("linear",),
    where="role in (q, k, v, qkv, o, gate, up, gate_up, down, fc1, fc2)",
    mergeable=True,
    learning_rate=4e-3,
    export="lora",
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """The vectors of every site, and the pair drawn from the seed, large enough for the largest site."""
    if not sites:
        return {}
    d_in, d_out = max(site.d_in for site in sites), max(site.d_out for site in sites)
    pair = (
        ParamDecl("A", (params.rank, d_in), _uniform(d_in), share="vera", role="seeded"),
        ParamDecl("B", (d_out, params.rank), _uniform(params.rank), share="vera", role="seeded"),
    )
    return {site.path: (*_vectors(params, site), *pair) for site in sites}


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest rank within the budget."""
    return fit_field(params, "rank", _vectors, sites, budget, most=8192)


def _vectors(params: Params, site: Site) -> Sequence[ParamDecl]:
    d = ParamDecl("d", (params.rank,), f"constant:{params.d_initial}", decay=False)
    return d, ParamDecl("b", (site.d_out,), decay=False)


def _uniform(fan_in: int) -> str:
    """Kaiming's uniform draw for rectified units."""
    return f"uniform:{(6 / fan_in) ** 0.5}"
