"""How long rows are for a model, and how often each answer is given: of rows spread evenly over a dataset."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import UserError
from studio.core.progress import CancelCheck, Progress
from studio.datasets.encode import Encoder
from studio.datasets.lint.words import words_of
from studio.datasets.progress import Meter
from studio.datasets.render import render_row
from studio.datasets.store import StoredDataset

MOST_ROWS = 2000
MOST_ANSWERS = 50  # more different ones are no classes
WHOLE = 2**20  # tokens: no row is cut
_TICK_ROWS = 50


@dataclass(frozen=True)
class Statistics:
    """Of the rows looked at that can be learned from: ``tokens`` (N,), and how many of them carry loss (N,).

    ``answers`` counts each answer, or is empty where there are too many; ``unusable`` rows are left out of all.
    """

    tokens: NDArray[np.int64]
    trained: NDArray[np.int64]
    answers: dict[str, int]
    unusable: int
    rows: int

    def cut(self, longest: int) -> float:
        """The share of rows that are longer."""
        return float((self.tokens > longest).mean()) if len(self.tokens) else 0.0


def measure(
    dataset: StoredDataset,
    encoder: Encoder,
    *,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> Statistics:
    """Look at up to ``MOST_ROWS`` rows, always the same; the encoder should cut none."""
    facts = dataset.facts
    places = np.unique(np.linspace(0, len(dataset) - 1, min(MOST_ROWS, len(dataset))).round().astype(np.int64))
    meter = Meter("measuring rows", len(places), progress, cancelled)
    tokens, trained, answers = [], [], Counter[str]()
    for number, place in enumerate(places.tolist()):
        if number % _TICK_ROWS == 0:
            meter.follow(lambda number=number: number)  # type: ignore[misc]
            meter.tick()
        row = dataset.row(place)
        try:
            example = render_row(row, facts.format, facts.mapping, facts.labels)
            encoded = encoder.encode(row)
        except UserError:  # counted; the check of all rows says what is wrong
            continue
        tokens.append(len(encoded.ids))
        trained.append(1 if encoded.label is not None else sum(encoded.trained))
        if len(answers) <= MOST_ANSWERS:
            label = facts.labels[example.label] if example.label is not None else words_of(example).answered
            answers[label] += 1
    few = 1 < len(answers) <= MOST_ANSWERS and 2 * len(answers) <= len(tokens)
    return Statistics(
        np.array(tokens, np.int64), np.array(trained, np.int64), dict(answers.most_common()) if few else {},
        len(places) - len(tokens), len(places),
    )  # fmt: skip
