"""One pass over all rows for everything that is wrong with them, then those that repeat each other."""

import tempfile
from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import UserError
from studio.core.progress import CancelCheck, Progress
from studio.core.spec import Split
from studio.core.units import format_count
from studio.datasets.lint.duplicates import Pairs, Seen
from studio.datasets.lint.finding import Finding
from studio.datasets.lint.rules import RULES
from studio.datasets.lint.words import words_of
from studio.datasets.progress import Meter
from studio.datasets.render import render_row
from studio.datasets.split import split_rows
from studio.datasets.store import StoredDataset

TICK_ROWS = 512
LEAVE_OUT = "leave these rows out"
UNUSABLE, REPEATED, ALIKE, CONTRADICTED, LEAKED = "unusable", "repeated", "alike", "contradicted", "leaked"
_PASSES = 2

Rows = NDArray[np.int64]


def check_rows(
    dataset: StoredDataset,
    format: str,
    mapping: Mapping[str, str],
    labels: Sequence[str],
    *,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> list[Finding]:
    """Everything found: rows that cannot be learned from are errors, all else is a warning."""
    total = len(dataset)
    meter = Meter("checking rows", _PASSES * total, progress, cancelled)
    unusable: dict[tuple[str, str, str], array[int]] = {}
    faulty = {rule.kind: array("q") for rule in RULES}
    with tempfile.TemporaryFile() as file:
        seen = Seen(file)
        for number, row in enumerate(dataset):
            if number % TICK_ROWS == 0:
                meter.follow(lambda number=number: number)  # type: ignore[misc]
                meter.tick()
            try:
                words = words_of(render_row(row, format, mapping, labels))
            except UserError as error:
                unusable.setdefault((error.where, error.message, error.hint), array("q")).append(number)
                continue
            for rule in RULES:
                if rule.found(words):
                    faulty[rule.kind].append(number)
            seen.add(number, words)

        def tick(done: float) -> None:
            meter.follow(lambda: int(total * (1 + done)))
            meter.tick()

        def text_of(row: int) -> str:
            return words_of(render_row(dataset.row(row), format, mapping, labels)).text

        again = seen.repeated()
        alike = seen.nearly_repeated(text_of, again.rows, tick)
        contradicted = seen.contradicted()
    tick(1.0)
    found = [
        Finding(UNUSABLE, where, message, hint, "error", _numbers(rows), total, LEAVE_OUT)
        for (where, message, hint), rows in unusable.items()
    ]
    place = dataset.facts.name
    found += [
        Finding(rule.kind, place, rule.message, rule.hint, "warning", _numbers(faulty[rule.kind]), total, rule.mends)
        for rule in RULES
    ]
    found += [
        Finding(REPEATED, place, "the same as an earlier row", "each is learned more often", "warning", again.rows,
                total, LEAVE_OUT),
        Finding(ALIKE, place, "nearly the same as an earlier row", "look at them: sharing a passage is no fault",
                "warning", alike.rows, total, LEAVE_OUT),
        Finding(CONTRADICTED, place, "the same question as another row with another answer",
                "one of them may be labelled wrongly", "warning", contradicted, total, LEAVE_OUT),
        Finding(LEAKED, place, f"trained on, word for word or nearly, where {format_count(Split().eval)} rows are "
                "held out", "held-out figures flatter: leave out the rows that repeat others", "warning",
                _leaked(total, again, alike), total),
    ]  # fmt: skip
    return [finding for finding in found if len(finding.rows)]


def _leaked(total: int, *repeats: Pairs) -> Rows:
    """Rows that the usual split holds out and that say the same, or nearly, as one that it trains on."""
    split = Split()
    if split.eval >= total:
        return np.empty(0, np.int64)
    held_out = np.zeros(total, np.bool_)
    held_out[split_rows(total, split.eval, split.seed, None)[1]] = True
    rows = np.concatenate([pairs.rows for pairs in repeats])
    earlier = np.concatenate([pairs.earlier for pairs in repeats])
    leaked = np.concatenate([rows[held_out[rows] & ~held_out[earlier]], earlier[held_out[earlier] & ~held_out[rows]]])
    return np.unique(leaked)


def _numbers(rows: "array[int]") -> Rows:
    return np.frombuffer(rows, np.int64) if len(rows) else np.empty(0, np.int64)
