"""The classes of a classification dataset."""

from collections.abc import Iterable, Mapping
from typing import Any

from studio.core.errors import UserError
from studio.datasets.templates import as_text

MAX_LABELS = 1000


def find_labels(rows: Iterable[Mapping[str, Any]], column: str) -> tuple[str, ...]:
    """The different values of ``column``, sorted: numbers by size, everything else as text."""
    found: set[str] = set()
    for row in rows:
        value = row.get(column)
        if value is not None:
            found.add(as_text(value))
        if len(found) > MAX_LABELS:
            raise UserError(
                f"column {column!r} has more than {MAX_LABELS} different values, so they are no classes",
                where="data.columns.label",
                hint="map the label to the column that holds the class",
            )
    return tuple(sorted(found, key=_order))


def _order(label: str) -> tuple[int, float, str]:
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)
