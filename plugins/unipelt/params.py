"""UniPELT: LoRA on queries and values, a prefix in every attention, an adapter after every feed-forward, all gated."""

import math
from collections.abc import Mapping, Sequence

from studio.api import ParamDecl, Site, Traits, largest, ui
from studio.api import Params as BaseParams


class Params(BaseParams):
    """Sizes of the three parts; 0 leaves a part out."""

    rank: int = ui(8, lo=0, hi=1024, label="LoRA rank", help="Rank of the update of queries and values.")
    alpha: float = ui(16.0, lo=0.01, hi=4096, label="LoRA alpha", help="The update is scaled by alpha / rank.")
    tokens: int = ui(10, lo=0, hi=4096, label="Prefix length", help="Virtual keys and values of each attention.")
    bottleneck: int = ui(48, lo=0, hi=4096, label="Bottleneck", help="Width of the adapter's hidden layer.")


traits = Traits(
    kinds=("attention", "linear"),
    where="kind == attention or role in (q, v, qkv, down, fc2)",
    identity_at_init=False,
    learning_rate=5e-4,
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """The parts with their gates (section 3); a prefix's gate lies where its attention's queries are made."""
    attentions = {site.path: site for site in sites if site.kind == "attention" and site.d_kv and params.tokens}
    declared = {site.path: _at_map(params, site) for site in sites if site.kind == "linear"}
    for query in [site for site in sites if site.role in ("q", "qkv")]:
        attention = attentions.get(query.path.rpartition(".")[0])
        if attention:
            declared[query.path] = (*declared[query.path], _gate("prefix.gate", query.d_in))
            declared[attention.path] = tuple(
                ParamDecl(name, (params.tokens, attention.d_kv), init="normal:0.02", decay=False)
                for name in ("keys", "values")
            )
    return declared


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest parts within the budget that keep their proportions; so does alpha / rank."""
    sizes = {name: getattr(params, name) for name in ("rank", "tokens", "bottleneck")}
    longest = max(*sizes.values(), 1)

    def make(size: int) -> Params:
        scaled = {name: math.ceil(whole * size / longest) for name, whole in sizes.items()}
        alpha = params.alpha * scaled["rank"] / params.rank if params.rank else params.alpha
        return params.model_copy(update={**scaled, "alpha": alpha})

    def count(sized: Params) -> int:
        return sum(decl.count for decls in declare_over(sized, sites).values() for decl in decls)

    return largest(make, count, budget, most=1024)


def _at_map(params: Params, site: Site) -> tuple[ParamDecl, ...]:
    rank, size = params.rank, params.bottleneck
    if site.role in ("q", "v", "qkv") and rank:
        factors = ParamDecl("A", (rank, site.d_in), init="kaiming"), ParamDecl("B", (site.d_out, rank))
        return (*factors, _gate("lora.gate", site.d_in))
    if site.role in ("down", "fc2") and size:
        return (
            ParamDecl("down.weight", (size, site.d_out), init="kaiming"),
            ParamDecl("down.bias", (size,), decay=False),
            ParamDecl("up.weight", (site.d_out, size)),
            ParamDecl("up.bias", (site.d_out,), decay=False),
            _gate("adapter.gate", site.d_out),
        )
    return ()


def _gate(name: str, width: int) -> ParamDecl:
    """A linear map to one number with its bias, half open at the start."""
    return ParamDecl(name, (width + 1,), decay=False)
