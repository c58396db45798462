"""Context-aware prompt tuning: the context's embeddings plus bounded changes."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from studio_plugins.cpt.params import Params, parse_examples
from torch import Tensor

from studio.api import Context, Place, Setup, Site, Step

SEPARATOR, INPUT, TEMPLATE, LABEL = 0, 1, 2, 3
REFERENCE_WIDTH = 2048  # the width of the model that the bounds were chosen for


def setup(params: Params, places: Sequence[Place], ctx: Setup) -> None:
    """Embed the context; its end comes last, and its beginning repeats or is cut."""
    tokens = _context(params, ctx.encode)
    if not tokens:
        raise ValueError("the model's tokenizer finds no token in the context")
    for place in places:
        count = len(place.tensors["part"])
        kept = [tokens[i % len(tokens)] for i in range(-count, 0)]
        place.tensors["embedding"].copy_(ctx.token_embedding([token for token, _ in kept]))
        place.tensors["part"].copy_(torch.tensor([part for _, part in kept]))


def prompt(params: Params, site: Site, tensors: Mapping[str, Tensor], ctx: Context) -> Tensor:
    """The context (n, d); separators and labels have no gradient and stay as they are."""
    part = tensors["part"]
    moves = (part == INPUT) | (part == TEMPLATE)
    return tensors["embedding"] + tensors["delta"] * moves.unsqueeze(1)


def on_step(params: Params, places: Sequence[Place], step: Step) -> None:
    """Scale every change back onto its ball: projected gradient descent."""
    for place in places:
        delta = place.tensors["delta"]
        bound = _bounds(params, place.tensors["part"]) * math.sqrt(delta.shape[1] / REFERENCE_WIDTH)
        delta.mul_((bound / delta.norm(dim=1).clamp_min(1e-12)).clamp_max(1).unsqueeze(1))


def _bounds(params: Params, part: Tensor) -> Tensor:
    bounds: Tensor = params.epsilon * (part == INPUT) + params.template_epsilon * (part == TEMPLATE)
    return bounds


def _context(params: Params, encode: Callable[[str], list[int]]) -> list[tuple[int, int]]:
    """Token ids and their parts; a blank before a slot belongs to what fills it, as in running text."""
    found = []
    for text, label in parse_examples(params.context):
        for template, filling, part, end in (
            (params.input_template, text, INPUT, " "),
            (params.output_template, label, LABEL, "\n"),
        ):
            before, _, after = template.partition("{}")
            blank = before[len(before.rstrip()) :]
            for piece, kind in (
                (before.rstrip(), TEMPLATE), (blank + filling, part), (after, TEMPLATE), (end, SEPARATOR),
            ):  # fmt: skip
                found += [(token, kind) for token in encode(piece)]
    return found
