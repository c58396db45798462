"""The tables of the Data screen: the library, and one dataset's rows as stored."""

import json
from collections.abc import Sequence
from typing import Any

from studio.core.facts import DataFacts
from studio.gui.models.records import Column

LONGEST_CELL = 300
Row = dict[str, Any]

DATA_COLUMNS: tuple[Column[DataFacts], ...] = (
    Column("Name", lambda facts: facts.name),
    Column("Rows", lambda facts: f"{facts.rows:,}", sort=lambda facts: facts.rows, numeric=True),
    Column("Format", lambda facts: facts.format),
)


def row_columns(names: Sequence[str]) -> tuple[Column[Row], ...]:
    """One column per column of the dataset."""
    return tuple(_column(name) for name in names)


def cell_text(value: Any) -> str:
    """A value on one line, cut where nobody reads on."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text[: 2 * LONGEST_CELL].split())
    return line if len(line) <= LONGEST_CELL else f"{line[:LONGEST_CELL]}…"


def _column(name: str) -> Column[Row]:
    return Column(name, lambda row: cell_text(row.get(name)))


def about(facts: DataFacts) -> str:
    """One line on a dataset."""
    parts = [f"{facts.rows:,} rows", f"{len(facts.columns)} columns", facts.format]
    if facts.labels:
        shown = ", ".join(facts.labels[:8]) + (" …" if len(facts.labels) > 8 else "")
        parts.append(f"{len(facts.labels)} labels: {shown}")
    if facts.steps:
        parts.append(f"{facts.parent}, then: {', '.join(step.does for step in facts.steps)}")
    parts.append(f"licence {facts.license}" if facts.license else "licence not stated")
    return "  ·  ".join(parts)
