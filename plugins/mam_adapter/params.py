"""MAM: a prefix in every attention and a scaled correction, whose form and place are the paper's design space."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from studio.api import ParamDecl, Site, Traits, largest, ui
from studio.api import Params as BaseParams

_ENDS = {
    "ffn": (("up", "gate_up", "fc1"), ("down", "fc2")),
    "attention": (("q", "qkv"), ("o",)),
}


class Params(BaseParams):
    """The prefix, and the four choices of section 4.1 for the correction beside it."""

    tokens: int = ui(
        30, lo=0, hi=4096, label="Prefix length", help="Virtual keys and values of each attention; 0 leaves them out."
    )
    rank: int = ui(512, lo=0, hi=4096, label="Bottleneck", help="Width of the correction; 0 leaves it out.")
    at: Literal["ffn", "attention", "projections"] = ui(
        "ffn", label="Corrects", help="What feed-forwards or attentions put out, or queries and values."
    )
    form: Literal["relu", "linear"] = ui(
        "relu", label="Form", help="Two projections with biases and a ReLU between, or a product of two matrices.",
        advanced=True,
    )  # fmt: skip
    insertion: Literal["parallel", "sequential"] = ui(
        "parallel", label="Reads", help="What the corrected part reads, or what it puts out.", advanced=True
    )
    factor: Literal["fixed", "learned"] = ui(
        "fixed", label="Factor", help="A fixed factor, or one trained per place from 1 on.", advanced=True
    )
    scale: float = ui(
        4.0, lo=0.001, hi=1000, label="Scale", help="The fixed factor of the correction.", when="factor == fixed"
    )
    network: int = ui(
        0, lo=0, hi=8192, label="Network width", advanced=True,
        help="Width of a two-layer network that makes the prefix while it trains; 0 trains it directly.",
    )  # fmt: skip


traits = Traits(
    kinds=("attention", "ffn", "linear"),
    where="kind in (attention, ffn) or role in (q, qkv, v, o, up, gate_up, fc1, down, fc2)",
    identity_at_init=False,
    learning_rate=2e-4,
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """A prefix at each attention; the correction at one site, or its halves at the two it lies between."""
    declared = {site.path: _prefix(params, site) for site in sites if site.kind == "attention" and site.d_kv}
    for first, last in _places(params, sites) if params.rank else ():
        width = first.d_in if params.insertion == "parallel" else first.d_out
        declared[first.path] = _down(params, width)
        declared[last.path] = (*declared.get(last.path, ()), *_up(params, last.d_out))
    return declared


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The largest prefix and bottleneck within the budget that keep their proportion."""
    longest = max(params.tokens, params.rank, 1)

    def make(size: int) -> Params:
        sizes = {name: math.ceil(getattr(params, name) * size / longest) for name in ("tokens", "rank")}
        return params.model_copy(update=sizes)

    def count(sized: Params) -> int:
        shared = {(d.share or path, d.name): d.count for path, ds in declare_over(sized, sites).items() for d in ds}
        return sum(shared.values())

    return largest(make, count, budget, most=4096)


def _places(params: Params, sites: Sequence[Site]) -> list[tuple[Site, Site]]:
    """Where each correction reads and where it is added; attentions to an encoder are left out."""
    if params.at == "projections":
        return [(site, site) for site in sites if site.role in ("q", "v", "qkv")]
    own = [site for site in sites if "EncDecAttention" not in site.path and "encoder_attn" not in site.path]
    whole = {site.layer: site for site in own if site.kind == params.at == "ffn"}
    firsts, lasts = _ENDS[params.at]
    first = {site.layer: site for site in own if site.role in firsts} | whole
    last = {site.layer: site for site in own if site.role in lasts} | whole
    if params.insertion == "sequential":
        first = last
    return [(first[layer], site) for layer, site in last.items() if layer in first]


def _prefix(params: Params, site: Site) -> tuple[ParamDecl, ...]:
    """Keys and values, or embeddings and the two layers that make them (appendix of Li and Liang)."""
    n, width = params.tokens, params.network
    if not n:
        return ()
    if not width:
        return tuple(
            ParamDecl(name, (n, site.d_kv), init="normal:0.02", decay=False)
            for name in ("prefix.keys", "prefix.values")
        )
    return (
        ParamDecl("prefix.embedding", (n, site.d_in), init="normal:1.0", share="prefix"),
        ParamDecl("prefix.down", (width, site.d_in), init="kaiming", share="prefix"),
        ParamDecl("prefix.up", (2 * site.d_kv, width), init="kaiming"),
    )


def _down(params: Params, width: int) -> tuple[ParamDecl, ...]:
    bias = (ParamDecl("down.bias", (params.rank,), decay=False),) if params.form == "relu" else ()
    return (ParamDecl("down.weight", (params.rank, width), init="kaiming"), *bias)


def _up(params: Params, width: int) -> tuple[ParamDecl, ...]:
    bias = (ParamDecl("up.bias", (width,), decay=False),) if params.form == "relu" else ()
    scale = (ParamDecl("scale", (1,), init="ones", decay=False),) if params.factor == "learned" else ()
    return (ParamDecl("up.weight", (width, params.rank)), *bias, *scale)
