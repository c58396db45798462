"""The columns of the runs table: words, what each sorts by in the catalog, and which go first when it is narrow."""

from dataclasses import dataclass
from datetime import datetime

from studio.catalog.rows import RunRow
from studio.core.units import format_count, format_number, format_seconds, format_watt_hours
from studio.gui.models.records import Column

CELL_MARGIN = 2  # characters of empty space per cell


@dataclass(frozen=True)
class RunColumn:
    """``characters`` is its usual width; columns with a higher ``rank`` are hidden first."""

    column: Column[RunRow]
    sort: str
    characters: int
    rank: int


def eval_text(row: RunRow) -> str:
    """``1.9312 → 0.4120``"""
    if row.eval_after is None:
        return "–" if row.eval_before is None else format_number(row.eval_before)
    before = "" if row.eval_before is None else f"{format_number(row.eval_before)} → "
    return f"{before}{format_number(row.eval_after)}"


def steps_text(row: RunRow) -> str:
    return f"{row.step:,} / {row.steps:,}" if row.steps else f"{row.step:,}"


def created_text(row: RunRow) -> str:
    """The day and time, in this machine's zone."""
    return datetime.fromtimestamp(row.created).astimezone().strftime("%Y-%m-%d %H:%M")


def duration_text(row: RunRow) -> str:
    if row.seconds is not None:
        return format_seconds(row.seconds)
    if row.started is None or row.updated is None:
        return "–"
    return format_seconds(max(0.0, row.updated - row.started))


def _count(value: int | None) -> str:
    return "–" if value is None else format_count(value)


def _energy(row: RunRow) -> str:
    return "–" if row.watt_hours is None else format_watt_hours(row.watt_hours)


RUN_COLUMNS: tuple[RunColumn, ...] = (
    RunColumn(Column("State", lambda row: row.state), "state", 13, 0),
    RunColumn(Column("Name", lambda row: row.name), "name", 24, 0),
    RunColumn(Column("Model", lambda row: row.model), "model", 20, 4),
    RunColumn(Column("Data", lambda row: row.data), "data", 14, 5),
    RunColumn(Column("Method", lambda row: row.method), "method", 10, 3),
    RunColumn(Column("Trainable", lambda row: _count(row.trainable), numeric=True), "trainable", 10, 6),
    RunColumn(Column("Eval loss", eval_text, numeric=True, tip="Before and after"), "eval_after", 16, 1),
    RunColumn(Column("Steps", steps_text, numeric=True), "progress", 13, 2),
    RunColumn(Column("Duration", duration_text, numeric=True), "duration", 12, 7),
    RunColumn(Column("Energy", _energy, numeric=True), "watt_hours", 9, 9),
    RunColumn(Column("Created", created_text), "created", 16, 8),
    RunColumn(Column("Tags", lambda row: ", ".join(row.tags)), "name", 14, 10),
    RunColumn(Column("Starred", lambda row: "★" if row.star else ""), "star", 8, 11),
)


def shown_columns(characters: int) -> list[int]:
    """The columns that fit into a width, the important ones first; always at least the two of rank 0."""
    left, shown = characters, []
    for index in sorted(range(len(RUN_COLUMNS)), key=lambda i: RUN_COLUMNS[i].rank):
        left -= RUN_COLUMNS[index].characters + CELL_MARGIN
        if left < 0 and RUN_COLUMNS[index].rank:
            break
        shown.append(index)
    return sorted(shown)
