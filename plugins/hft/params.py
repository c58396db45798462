"""Half fine-tuning: in every block, half of the tensors of each category are trained in place."""

from collections.abc import Mapping, Sequence
from random import Random

from studio.api import ParamDecl, Site, Traits, ui
from studio.api import Params as BaseParams

ATTENTION = ("q", "k", "v", "qkv", "o", "pos_q", "pos_k")


class Params(BaseParams):
    """Which half is trained."""

    seed: int = ui(0, lo=0, label="Seed", help="Seed of the draw.")
    round: int = ui(
        1, lo=1, label="Round", help="Stage of a sequence of trainings; each one trains another random half."
    )


traits = Traits(
    kinds=("linear", "norm", "conv", "embedding"),
    where="kind in (linear, norm, conv, embedding) or role in (router, expert_gate_up, expert_down, head)",
    mergeable=True,
    trains_base=True,
    learning_rate=2e-5,
    export="base",
)


def declare_over(params: Params, sites: Sequence[Site]) -> Mapping[str, Sequence[ParamDecl]]:
    """All tensors outside the blocks and the drawn half within them."""
    drawn = _draw_half(Random(f"{params.seed}:{params.round}"), [site for site in sites if site.layer is not None])
    return {site.path: _tensors(site) for site in sites if site.layer is None or site.path in drawn}


def _draw_half(random: Random, sites: Sequence[Site]) -> set[str]:
    """Half of the sites of each category and size in every block; where a block has an odd number of them, one more
    in a random half of those blocks."""
    groups: dict[tuple[str, int], dict[int | None, list[str]]] = {}
    for site in sites:
        size = site.d_in * site.d_out * site.copies
        groups.setdefault((_category(site), size), {}).setdefault(site.layer, []).append(site.path)
    drawn: set[str] = set()
    for blocks in groups.values():
        odd = [layer for layer, paths in blocks.items() if len(paths) % 2]
        favoured = random.sample(odd, len(odd) // 2)
        for layer, paths in blocks.items():
            drawn.update(random.sample(paths, len(paths) // 2 + (layer in favoured)))
    return drawn


def _category(site: Site) -> str:
    return site.kind if site.kind != "linear" else "attention" if site.role in ATTENTION else "feed-forward"


def _tensors(site: Site) -> tuple[ParamDecl, ...]:
    owner = site.tied_to or site.path
    weight = ParamDecl("weight", site.shape, base="weight", decay=site.kind != "norm", share=owner)
    bias = (ParamDecl("bias", (site.d_out,), base="bias", decay=False),) if site.has_bias else ()
    return (weight, *bias)
