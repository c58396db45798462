"""What a task computes from a batch: its logits, its loss and what counts as right."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from studio.core.errors import BugError, UserError
from studio.engine.batches import Batch
from studio.engine.chunked_loss import chunked_cross_entropy, plain_head, scores_in_parts
from studio.engine.flow import flow_of
from studio.engine.row_attention import packed_rows


def batch_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits for ``batch.targets``: (N, vocabulary), or (B, classes).

    For language models the output layer sees only the positions that carry loss, whatever the architecture
    does to its logits afterwards; the cache stays off, since packed rows would leak through it.
    """
    if (flow := flow_of(model)) is not None:
        flow.use_batch(batch)
    inputs: dict[str, Any] = {"input_ids": batch.ids, "attention_mask": batch.mask}
    if batch.types is not None:
        inputs["token_type_ids"] = batch.types
    if batch.predicts is None:
        return model(**inputs).logits  # type: ignore[no-any-return]
    if batch.positions is not None:
        inputs["position_ids"] = batch.positions
    apart = nullcontext() if batch.positions is None else packed_rows(model, batch.lengths)
    with only_predicting(model, batch.predicts), apart:
        return model(**inputs, use_cache=False).logits  # type: ignore[no-any-return]


def batch_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The loss of a batch, summed over its targets, to train on: what ``loss_sum`` says of ``batch_logits``."""
    head = None if batch.predicts is None else plain_head(model)
    if head is None:
        return loss_sum(batch_logits(model, batch), batch)
    return chunked_cross_entropy(_hidden_before(head, model, batch), head.weight, head.bias, batch.targets)


class Scores(NamedTuple):
    """``loss`` () is summed over the targets of a batch, ``best`` (N,) are what is most probable at each of them.

    ``chosen`` (B,) indexes the most probable of some choices where each row's first target is; None without choices.
    """

    loss: Tensor
    best: Tensor
    chosen: Tensor | None


def batch_scores(model: nn.Module, batch: Batch, choices: Sequence[int] = ()) -> Scores:
    """How a model does on a batch, without gradients; ``choices`` are token ids."""
    head = None if batch.predicts is None else plain_head(model)
    if head is None:
        logits = batch_logits(model, batch)
        loss, best = loss_sum(logits, batch), logits.argmax(-1)
        of_choices = logits[batch.first_targets][:, list(choices)] if choices else None
    else:
        hidden = _hidden_before(head, model, batch)
        loss, best = scores_in_parts(hidden, head.weight, head.bias, batch.targets)
        of_choices = _logits_of(head, hidden[batch.first_targets], list(choices)) if choices else None
    return Scores(loss, best, None if of_choices is None else of_choices.argmax(-1))


def _logits_of(head: nn.Linear, hidden: Tensor, tokens: list[int]) -> Tensor:
    return linear(hidden, head.weight[tokens], None if head.bias is None else head.bias[tokens])


def _hidden_before(head: nn.Linear, model: nn.Module, batch: Batch) -> Tensor:
    """What the output layer is given where a token with loss is predicted (N, d)."""
    given: list[Tensor] = []

    def hand_on(hidden: Tensor) -> Tensor:
        given.append(hidden)
        return hidden

    vars(head)["forward"] = hand_on
    try:
        hidden = batch_logits(model, batch)
    finally:
        del vars(head)["forward"]
    if hidden is not given[-1]:
        raise BugError(f"{type(model).__name__} changes its logits in a way that its config does not tell")
    return hidden


def loss_sum(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy in fp32, summed over the targets."""
    return cross_entropy(logits.float(), batch.targets, reduction="sum")


@contextmanager
def only_predicting(model: nn.Module, predicts: Tensor) -> Iterator[None]:
    """Have the output layer see the chosen positions (B, S) alone, in reading order."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    if not isinstance(head, nn.Module):
        raise UserError("the model has no output layer to train on", where=type(model).__name__)

    def select(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0][predicts], *args[1:])

    handle = head.register_forward_pre_hook(select, prepend=True)
    try:
        yield
    finally:
        handle.remove()


def macro_f1(expected: Tensor, predicted: Tensor, classes: int) -> float:
    """F1 averaged over the classes that occur in either; 0 for a class never predicted right."""
    scores = []
    for label in range(classes):
        is_class, said_class = expected == label, predicted == label
        if not (is_class.any() or said_class.any()):
            continue
        right = (is_class & said_class).sum().item()
        scores.append(2 * right / (is_class.sum().item() + said_class.sum().item()))
    return sum(scores) / len(scores) if scores else 0.0


def split_rows(flags: Tensor, batch: Batch) -> list[Tensor]:
    """Per-target flags (N,) split by row."""
    bounds = [*batch.first_targets.tolist(), flags.numel()]
    return [flags[start:end] for start, end in pairwise(bounds)]


def all_true(flags: Tensor) -> bool:
    """Whether every flag holds (and there is one)."""
    return bool(flags.numel() > 0 and torch.all(flags).item())
