"""Prompt tuning: the trained embeddings are the prompt."""

from collections.abc import Mapping, Sequence

import torch
from studio_plugins.prompt_tuning.params import Params
from torch import Tensor

from studio.api import Context, Place, Setup, Site


def setup(params: Params, places: Sequence[Place], ctx: Setup) -> None:
    """Start from the embeddings of the text (section 3.2)."""
    if params.start == "text" and (ids := ctx.encode(params.text)):
        for place in places:
            rows = place.tensors["tokens"]
            embedded = ctx.token_embedding(ids)
            rows.copy_(embedded[torch.arange(len(rows)) % len(ids)])


def prompt(params: Params, site: Site, tensors: Mapping[str, Tensor], ctx: Context) -> Tensor:
    """The virtual tokens (n, d)."""
    return tensors["tokens"]
