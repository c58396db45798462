"""P-tuning: the prompt is what the network makes of its embeddings."""

from collections.abc import Mapping

import torch
from studio_plugins.p_tuning.params import Params
from torch import Tensor
from torch.nn.functional import linear, relu

from studio.api import Context, Site


def prompt(params: Params, site: Site, tensors: Mapping[str, Tensor], ctx: Context) -> Tensor:
    """The virtual tokens (n, d): MLP(LSTM(P)) as in the paper, or MLP(P)."""
    states, layers = tensors["tokens"], 3
    if params.encoder == "lstm":
        states, layers = _lstm(params, tensors), 2
    for layer in range(1, layers + 1):
        states = linear(states, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"])
        states = relu(states) if layer < layers else states
    return states


def _lstm(params: Params, tensors: Mapping[str, Tensor]) -> Tensor:
    """What the two-way LSTM makes of the embeddings (n, d): (n, 2 hidden)."""
    weights = [tensor for name, tensor in tensors.items() if name.startswith("lstm.")]
    tokens = tensors["tokens"].unsqueeze(0)
    start = tokens.new_zeros(2 * params.depth, 1, params.hidden)
    biases, dropout, training, both_ways, batch_first = True, 0.0, False, True, True
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN wants all weights in one block of memory
        states, _, _ = torch.lstm(
            tokens, (start, start), weights, biases, params.depth, dropout, training, both_ways, batch_first
        )
    return states[0]
