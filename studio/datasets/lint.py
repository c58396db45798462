"""A pass over all rows for those that cannot be learned from: to name them, or to leave them out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.core.errors import UserError
from studio.core.facts import DataFacts
from studio.core.problems import Problem
from studio.core.progress import CancelCheck, Progress
from studio.core.units import format_count
from studio.datasets.ingest import store_rows
from studio.datasets.progress import Meter
from studio.datasets.render import render_row
from studio.datasets.store import StoredDataset, read_record, write_record

_NAMED_ROWS = 3
_TICK_ROWS = 512


def check_rows(
    dataset: StoredDataset,
    format: str,
    mapping: Mapping[str, str],
    labels: Sequence[str],
    *,
    progress: Progress | None = None,
    cancelled: CancelCheck | None = None,
) -> list[Problem]:
    """One problem for each kind of fault, with the number of rows that have it and the first of them."""
    meter = Meter("checking rows", len(dataset), progress, cancelled)
    faults: dict[tuple[str, str, str], list[int]] = {}
    for number, row in enumerate(dataset, start=1):
        if number % _TICK_ROWS == 0:
            meter.finish_file(_TICK_ROWS)
            meter.tick()
        try:
            render_row(row, format, mapping, labels)
        except UserError as error:
            faults.setdefault((error.where, error.message, error.hint), []).append(number)
    return [
        Problem(where, f"{message} in {_rows(numbers, len(dataset))}", hint)
        for (where, message, hint), numbers in faults.items()
    ]


def keep_usable(
    stored: StoredDataset, folder: Path, progress: Progress | None = None, cancelled: CancelCheck | None = None
) -> DataFacts:
    """Copy the rows that can be learned from, and the record, to ``folder``."""
    facts = stored.facts
    meter = Meter("leaving out unusable rows", len(stored), progress, cancelled)
    usable = (row for row in stored if _is_usable(row, facts))
    kept = store_rows(usable, folder, meter, facts.name)
    changes = {"rows": kept.profile.rows, "fingerprint": kept.fingerprint, "path": str(folder)}
    facts = facts.model_copy(update=changes)
    write_record(folder, read_record(stored.path).model_copy(update={"facts": facts}))
    return facts


def _is_usable(row: dict[str, Any], facts: DataFacts) -> bool:
    try:
        render_row(row, facts.format, facts.mapping, facts.labels)
    except UserError:
        return False
    return True


def _rows(numbers: list[int], total: int) -> str:
    first = ", ".join(map(str, numbers[:_NAMED_ROWS]))
    more = ", …" if len(numbers) > _NAMED_ROWS else ""
    return f"{format_count(len(numbers))} of {format_count(total)} rows (row {first}{more})"
