"""APET: a budget of parameters, spent on whole groups of tensors that chance draws."""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Literal

from studio.api import ParamDecl, Site, Traits, ui
from studio.api import Params as BaseParams

Group = tuple[str, tuple[ParamDecl, ...]]  # a site's path and the tensors there that are taken together
LORA = ("q", "v", "qkv")
ADAPTER = ("o", "down", "fc2")


class Params(BaseParams):
    """The budget, the draw and the modules that are in it."""

    budget: int = ui(10_000, lo=1, label="Budget", help="Parameters to train over all chosen sites.")
    draw: int = ui(1, lo=1, label="Draw", help="Number of the draw; another one trains another set of tensors.")
    mode: Literal["paper", "exact"] = ui(
        "paper", label="Count",
        help="Whole tensors only, at most the budget (the paper); or exactly the budget, filled up by single weights.",
    )  # fmt: skip
    new_share: float = ui(
        0.5, lo=0, hi=1, step=0.1, label="Share of new modules", advanced=True,
        help="Share of the budget for new modules; the rest is for tensors of the base model.",
    )  # fmt: skip
    rank: int = ui(8, lo=0, hi=1024, label="LoRA rank", help="Rank of the LoRA pairs; 0 for none.", advanced=True)
    bottleneck: int = ui(
        24, lo=0, hi=8192, label="Adapter width", help="Inner width of the adapters; 0 for none.", advanced=True
    )
    prompt_tokens: int = ui(
        0, lo=0, hi=4096, label="Prompt tokens", advanced=True,
        help="Virtual tokens of the prompt in the draw (100 in the paper); 0 for none.",
    )  # fmt: skip


traits = Traits(
    kinds=("linear", "norm", "conv", "embedding", "model"),
    where="kind in (linear, norm, conv, embedding, model)",
    trains_base=True,
    learning_rate=1e-4,
    packs=False,
    families=("decoder", "encoder", "encoder-decoder"),
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """The groups drawn from both pools, and in mode "exact" single weights for what is left of the budget."""
    random = Random(params.budget * params.draw)
    new = [group for site in sites for group in _new_groups(params, site)]
    base = [group for site in _owners(sites) for group in _base_groups(site)]
    taken = [
        *_take(random, new, int(params.budget * params.new_share)),
        *_take(random, base, int(params.budget * (1 - params.new_share))),
    ]
    if params.mode == "exact":
        taken += _fill(random, sites, taken, params.budget - sum(_size(group) for group in taken))
    declared: dict[str, list[ParamDecl]] = {}
    for path, decls in taken:
        declared.setdefault(path, []).extend(decls)
    return declared


def fit(params: Params, sites: Sequence[Site], budget: int) -> Params:
    """The draw for this budget, filled up to it exactly where the sites have as many single weights."""
    exact = params.model_copy(update={"budget": budget, "mode": "exact"})
    try:
        declare_over(exact, sites)
    except ValueError:
        fitted = exact.model_copy(update={"mode": "paper"})
        if not declare_over(fitted, sites):
            raise
        return fitted
    return exact


def extra_tokens(params: Params) -> int:
    """The prompt's, if it is drawn."""
    return params.prompt_tokens


def _take(random: Random, pool: list[Group], left: int) -> Iterable[Group]:
    """Every group of the shuffled pool that fits into what is left when its turn comes."""
    random.shuffle(pool)
    for group in pool:
        if _size(group) <= left:
            left -= _size(group)
            yield group


def _size(group: Group) -> int:
    return sum(decl.count for decl in group[1])


def _new_groups(params: Params, site: Site) -> Iterable[Group]:
    """The modules that can be inserted at a site, each to be drawn as a whole."""
    d, r, b = site.d_out, params.rank, params.bottleneck
    if site.role in LORA and r:
        yield site.path, (ParamDecl("A", (r, site.d_in), init="kaiming"), ParamDecl("B", (d, r)))
    if site.role in ADAPTER and b:
        down = ParamDecl("down.weight", (b, d), init="kaiming"), ParamDecl("down.bias", (b,), decay=False)
        yield site.path, (*down, ParamDecl("up.weight", (d, b)), ParamDecl("up.bias", (d,), decay=False))
    if site.kind == "model" and params.prompt_tokens:
        yield site.path, (ParamDecl("tokens", (params.prompt_tokens, d), init="normal:0.02", decay=False),)


def _base_groups(site: Site) -> Iterable[Group]:
    """Every tensor of the base by itself."""
    if site.shape:
        owner = site.tied_to or site.path
        yield site.path, (ParamDecl("weight", site.shape, base="weight", decay=site.kind != "norm", share=owner),)
    if site.has_bias:
        yield site.path, (ParamDecl("bias", (site.d_out,), base="bias", decay=False),)


def _owners(sites: Sequence[Site]) -> list[Site]:
    """The sites without those that share the tensor of another one among them."""
    paths = {site.path for site in sites}
    return [site for site in sites if site.tied_to not in paths]


def _fill(random: Random, sites: Sequence[Site], taken: Iterable[Group], left: int) -> Iterable[Group]:
    """Single weights of linear maps whose own tensor was not drawn, until nothing is left."""
    drawn = {path for path, decls in taken if any(decl.base == "weight" for decl in decls)}
    free = [site for site in _owners(sites) if site.kind == "linear" and site.path not in drawn]
    random.shuffle(free)
    for site in free:
        if entries := min(left, site.d_in * site.d_out):
            left -= entries
            index = ParamDecl("index", (entries,), role="fixed", dtype="int64")
            yield site.path, (ParamDecl("values", (entries,), decay=False), index)
    if left:
        raise ValueError(f"the linear maps that were not drawn have {left:,} weights fewer than the budget needs")
