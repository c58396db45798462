"""Prompts of any lengths read in one pass without padding: Prepacking (Zhao et al. 2024, arXiv 2404.09529)."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from studio.engine.batches import Row, collate
from studio.engine.flow import flow_of
from studio.engine.row_attention import packed_rows
from studio.engine.tasks import only_predicting


class Prefilled(NamedTuple):
    """Keys and values of prompts, filled up on the left to the longest, and the logits (B, vocabulary) after each."""

    cache: Any
    logits: Tensor


def prefill(model: nn.Module, prompts: Sequence[Tensor]) -> Prefilled:
    """Read prompts of token ids (S,), packed end to end and each on its own, with a model that attends by row."""
    from transformers import DynamicCache

    rows = [Row(prompt.numpy(force=True), torch.ones(len(prompt), dtype=torch.bool).numpy()) for prompt in prompts]
    # of a class rather than of tokens: nothing of a prompt is what the model learns to write
    batch = collate(rows, pad_id=0, device=str(prompts[0].device), packed=True, classes=True)
    if (flow := flow_of(model)) is not None:
        flow.use_batch(batch)
    ends = list(accumulate(batch.lengths))
    last = torch.zeros_like(batch.ids, dtype=torch.bool)
    last[0, [end - 1 for end in ends]] = True
    packed = DynamicCache()  # without the config: layers with a window, too, keep every token until rows are parted
    with torch.inference_mode(), only_predicting(model, last), packed_rows(model, batch.lengths):
        logits = model(input_ids=batch.ids, position_ids=batch.positions, past_key_values=packed, use_cache=True).logits
        return Prefilled(_parted(packed, batch.lengths), logits)


def _parted(packed: Any, lengths: Sequence[int]) -> Any:
    """The cache of packed rows as one of rows that are filled up on the left."""
    from transformers import DynamicCache

    parted = DynamicCache()
    longest = max(lengths)
    for index, layer in enumerate(packed.layers):
        keys, values = (
            torch.cat([pad(row, (0, 0, longest - row.shape[2], 0)) for row in tensor.split(list(lengths), dim=2)])
            for tensor in (layer.keys, layer.values)
        )
        layer.keys = layer.values = None  # one layer at a time is there twice
        parted.update(keys, values, index)
    return parted
