"""Prompt tuned embedding classification: the prompt starts from the names of the labels."""

from collections.abc import Mapping, Sequence

import torch
from studio_plugins.ptec.params import Params
from torch import Tensor

from studio.api import Context, Place, Setup, Site


def setup(params: Params, places: Sequence[Place], ctx: Setup) -> None:
    """Embeddings of the label names: some of them by chance if they are too many, repeated if too few."""
    ids = ctx.encode(params.labels)
    if not ids:
        return
    embedded = ctx.token_embedding(ids)
    for place in places:
        tokens = place.tensors["tokens"]
        order = torch.randperm(len(ids), generator=ctx.generator)[: len(tokens)].sort().values
        tokens.copy_(embedded[order[torch.arange(len(tokens)) % len(order)]])


def prompt(params: Params, site: Site, tensors: Mapping[str, Tensor], ctx: Context) -> Tensor:
    """The virtual tokens (n, d)."""
    return tensors["tokens"]
