"""Held-out metrics of the model as it stands."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from studio.core.plan import Plan
from studio.engine.batches import Batch, Row, collate, micro_batches
from studio.engine.tasks import Scores, all_true, batch_scores, macro_f1, split_rows

MOST_CHOICES = 20
LEAST_ROWS_AT_ONCE = 4  # without gradients there is room for more rows than in training


def eval_rows_at_once(plan: Plan) -> int:
    """How many held-out rows the plan evaluates together."""
    return max(plan.micro_batch, LEAST_ROWS_AT_ONCE)


def answer_choices(completions: Iterable[NDArray[np.integer[Any]]], *, eos_id: int | None) -> list[int]:
    """First tokens of the completions, if they form a small closed set told apart by that token; else none.

    With such a set, the choice with the most probable first token is what constrained decoding answers, so
    one forward pass gives the accuracy.
    """
    found: dict[bytes, int | None] = {}
    for ids in completions:
        name = ids.tobytes()
        if name not in found:
            found[name] = int(ids[0]) if len(ids) else None
            if len(found) > MOST_CHOICES:
                return []
    firsts = {first for first in found.values() if first is not None} - {eos_id}
    return sorted(firsts) if len(found) >= 2 and len(firsts) == len(found) else []


@dataclass
class _Tally:
    loss: float = 0.0
    weight: int = 0
    right: int = 0
    exact: int = 0
    rows: int = 0
    expected: list[int] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)


def evaluate(
    model: nn.Module,
    rows: Sequence[Row],
    plan: Plan,
    *,
    pad_id: int,
    choices: Sequence[int] = (),
    at_once: int | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[str, float]:
    """Metrics over ``rows``, so many ``at_once`` (None: as planned).

    Classification: loss, accuracy, f1 (macro). Language: loss per trained token, perplexity,
    token_accuracy, exact_match (greedy decoding would write the whole completion: every token is the
    most probable one given those before it) and, for a closed set of answers, accuracy and f1.
    """
    classes = plan.task == "classification"
    tally = _Tally()
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            done = 0
            for chunk in micro_batches(rows, at_once or eval_rows_at_once(plan)):
                batch = collate(chunk, pad_id=pad_id, device=plan.device, packed=False, classes=classes)
                scores = batch_scores(model, batch, choices)
                tally.loss += scores.loss.item()
                tally.weight += batch.weight
                if classes:
                    _count_classes(tally, scores, batch)
                else:
                    _count_tokens(tally, scores, batch, choices)
                done += len(chunk)
                progress(done / len(rows))
    finally:
        model.train(was_training)
    return _metrics(tally, classes=classes, plan=plan, choices=choices)


def _count_classes(tally: _Tally, scores: Scores, batch: Batch) -> None:
    tally.predicted += scores.best.tolist()
    tally.expected += batch.targets.tolist()
    tally.rows += batch.weight


def _count_tokens(tally: _Tally, scores: Scores, batch: Batch, choices: Sequence[int]) -> None:
    flags = scores.best == batch.targets
    tally.right += int(flags.sum().item())
    by_row = split_rows(flags, batch)
    tally.exact += sum(all_true(row) for row in by_row)
    tally.rows += len(by_row)
    if scores.chosen is not None:
        index = {token: i for i, token in enumerate(choices)}
        tally.predicted += scores.chosen.tolist()
        tally.expected += [index.get(token, -1) for token in batch.targets[batch.first_targets].tolist()]


def _metrics(tally: _Tally, *, classes: bool, plan: Plan, choices: Sequence[int]) -> dict[str, float]:
    loss = tally.loss / max(tally.weight, 1)
    metrics = {"loss": loss}
    if not classes:
        metrics["perplexity"] = math.exp(loss) if loss < 700 else math.inf
        metrics["token_accuracy"] = tally.right / max(tally.weight, 1)
        metrics["exact_match"] = tally.exact / max(tally.rows, 1)
    if tally.predicted:
        expected, predicted = torch.tensor(tally.expected), torch.tensor(tally.predicted)
        metrics["accuracy"] = (expected == predicted).float().mean().item()
        metrics["f1"] = macro_f1(expected, predicted, len(plan.labels) if classes else len(choices))
    return metrics
