"""How many operations a run takes."""

import math
from dataclasses import dataclass

from studio.estimate.attention import attends_by_row
from studio.estimate.batches import largest_batch, largest_eval_batch, mean_length, tokens_per_step, trained_share
from studio.estimate.families import family_of
from studio.estimate.footprint import Footprint
from studio.estimate.inputs import EstimateInputs

SAMPLES, MOST_NEW_TOKENS, EXTRA_TOKENS = 3, 24, 8  # what the worker writes at each eval of a language task


@dataclass(frozen=True)
class Work:
    """Floating-point operations of one optimizer step and of one eval, and the passes that launch them.

    ``optimizer_bytes`` are read and written by the optimizer in a step, ``new_tokens`` generated at an eval.
    """

    step_flops: float
    eval_flops: float
    micro_steps: int
    eval_batches: int
    evals: int
    optimizer_bytes: int
    new_tokens: int


def measure_work(inputs: EstimateInputs, footprint: Footprint, flops_per_token: float | None = None) -> Work:
    """Operations of the parts of a run: two per weight and token forward, two back to the inputs, two to weights.

    ``flops_per_token`` is what a simulation counted for forward and backward passes.
    """
    evals = count_evals(inputs)
    batch = largest_eval_batch(inputs)
    trained = footprint.trainable + inputs.head_params
    new = min(MOST_NEW_TOKENS, round(_trained_per_row(inputs)) + EXTRA_TOKENS)
    return Work(
        step_flops=tokens_per_step(inputs) * (flops_per_token or _training_flops_per_token(inputs, footprint)),
        eval_flops=inputs.eval_rows * mean_length(inputs) * _forward_flops_per_token(inputs) if evals else 0.0,
        micro_steps=_micro_steps(inputs),
        eval_batches=-(-inputs.eval_rows // batch.rows) if evals else 0,
        evals=evals,
        optimizer_bytes=28 * trained,  # weight, gradient and two moments read, all but the gradient written
        new_tokens=SAMPLES * new if inputs.language and evals else 0,
    )


def _micro_steps(inputs: EstimateInputs) -> int:
    """Micro-batches of a step; of packed rows each holds as many tokens as the largest."""
    if inputs.packing:
        return math.ceil(tokens_per_step(inputs) / largest_batch(inputs).tokens)
    return -(-inputs.rows_per_step // inputs.micro_batch)


def count_evals(inputs: EstimateInputs) -> int:
    """Before the first step, every ``eval_every`` steps and after the last."""
    if not inputs.eval_rows:
        return 0
    return 1 + -(-inputs.steps // max(1, inputs.eval_every))


def body_params(inputs: EstimateInputs) -> int:
    """Parameters that every token is multiplied with: all but the embeddings and the output layer."""
    model = inputs.model
    tables = model.vocab * (2 if model.kind == "decoder" and not model.tied_embeddings else 1)
    positions = 0 if model.gated_mlp else model.max_positions
    return max(model.params - (tables + positions) * model.hidden, model.params // 10)


def _forward_flops_per_token(inputs: EstimateInputs) -> float:
    head = 2 * inputs.model.vocab * inputs.model.hidden * trained_share(inputs) if inputs.language else 0
    return 2 * body_params(inputs) + head + _attention_flops_per_token(inputs)


def _training_flops_per_token(inputs: EstimateInputs, footprint: Footprint) -> float:
    model = inputs.model
    reached = sum(1 for layer in range(model.layers) if layer >= footprint.lowest[0]) / max(model.layers, 1)
    body, attention = 2 * body_params(inputs), _attention_flops_per_token(inputs)
    passes_back = 2 if inputs.checkpointing else 1  # the backward pass, and the forward pass again before it
    back = reached * (passes_back * body + (passes_back + 1.5) * attention)
    head = 2 * model.vocab * model.hidden * trained_share(inputs) if inputs.language else 0
    own = 6 * footprint.matrices + 2 * footprint.base_matrices
    return _forward_flops_per_token(inputs) + back + head + own


def _attention_flops_per_token(inputs: EstimateInputs) -> float:
    """Scores and weighted sum over the row; a causal kernel skips the upper half when there is no mask."""
    model = inputs.model
    by_row = attends_by_row(inputs, family_of(model))
    length = mean_length(inputs) * (inputs.micro_batch if inputs.packing and not by_row else 1)
    full = 4 * length * model.heads * model.head_dim * model.layers
    alone = by_row if inputs.packing else not (inputs.masked and inputs.micro_batch > 1)
    return full / 2 if model.kind == "decoder" and alone else full


def _trained_per_row(inputs: EstimateInputs) -> float:
    return inputs.lengths.trained if inputs.lengths else float(inputs.max_length)
