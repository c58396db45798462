"""Copies of a dataset without its faults; the original stays as it is."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import UserError
from studio.core.facts import DataFacts, DataStep
from studio.core.progress import CancelCheck, Progress
from studio.datasets.ingest import store_rows
from studio.datasets.lint.finding import Finding
from studio.datasets.lint.rules import RULES, Mend
from studio.datasets.progress import Meter
from studio.datasets.render import render_row
from studio.datasets.store import StoredDataset, read_record, write_record

_MENDS: dict[str, Mend] = {rule.kind: rule.mend for rule in RULES if rule.mend}


def keep_usable(
    stored: StoredDataset, folder: Path, progress: Progress | None = None, cancelled: CancelCheck | None = None
) -> DataFacts:
    """Copy the rows that can be learned from, and the record, to ``folder``."""
    facts = stored.facts
    meter = Meter("leaving out unusable rows", len(stored), progress, cancelled)
    return _write(stored, (row for row in stored if _is_usable(row, facts)), folder, meter, facts.steps)


def write_mended(
    stored: StoredDataset,
    findings: Sequence[Finding],
    folder: Path,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> DataFacts:
    """Copy to ``folder`` what is left once these findings are mended, with a step on record for each."""
    facts = stored.facts
    steps = [
        DataStep(kind=finding.kind, does=finding.mends, rows=len(finding.rows), before=facts.fingerprint)
        for finding in findings
    ]
    meter = Meter("mending rows", len(stored), progress, cancelled)
    return _write(stored, _mended(stored, findings), folder, meter, (*facts.steps, *steps))


def _mended(stored: StoredDataset, findings: Sequence[Finding]) -> Iterator[dict[str, Any]]:
    left_out = _marked(stored, [finding for finding in findings if finding.kind not in _MENDS])
    changed = [(_MENDS[finding.kind], _marked(stored, [finding])) for finding in findings if finding.kind in _MENDS]
    for number, row in enumerate(stored):
        if left_out[number]:
            continue
        for mend, marked in changed:
            if marked[number]:
                row = {name: _in_texts(value, mend) for name, value in row.items()}  # noqa: PLW2901
        yield row


def _marked(stored: StoredDataset, findings: Sequence[Finding]) -> NDArray[np.bool_]:
    marked = np.zeros(len(stored), np.bool_)
    for finding in findings:
        marked[finding.rows] = True
    return marked


def _in_texts(value: Any, mend: Mend) -> Any:
    """A value of a row with every text in it mended."""
    if isinstance(value, str):
        return mend(value)
    if isinstance(value, list):
        return [_in_texts(item, mend) for item in value]
    if isinstance(value, dict):
        return {key: _in_texts(item, mend) for key, item in value.items()}
    return value


def _write(
    stored: StoredDataset, rows: Iterator[dict[str, Any]], folder: Path, meter: Meter, steps: tuple[DataStep, ...]
) -> DataFacts:
    kept = store_rows(rows, folder, meter, stored.facts.name)
    changes = {"rows": kept.profile.rows, "fingerprint": kept.fingerprint, "path": str(folder), "steps": steps}
    facts = stored.facts.model_copy(update=changes)
    write_record(folder, read_record(stored.path).model_copy(update={"facts": facts}))
    return facts


def _is_usable(row: dict[str, Any], facts: DataFacts) -> bool:
    try:
        render_row(row, facts.format, facts.mapping, facts.labels)
    except UserError:
        return False
    return True
