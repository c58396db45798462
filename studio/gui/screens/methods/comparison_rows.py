"""The lines of the comparison: every number exact, the reason where there is none, and all of it as CSV."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.core.units import format_bytes
from studio.gui.models.records import Column
from studio.gui.widgets.schema import FieldShape, read_fields

if TYPE_CHECKING:
    from studio.service.methods import Count, MethodInfo
    from studio.service.side_by_side import Counted

MOST_SHOWN = 3  # sizes of a method that has its defaults
EXPORT_WORDS = {"lora": "LoRA", "base": "base weights"}
CSV_HEAD = (
    "method", "title", "params", "trainable", "total", "share", "tensors", "sites", "file_bytes", "optimizer_bytes",
    "mergeable", "exports", "problem",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One method of the comparison; ``counted`` None while it is being counted."""

    info: "MethodInfo"
    counted: "Counted | None"

    @property
    def count(self) -> "Count | None":
        return self.counted.count if self.counted else None

    @property
    def problem(self) -> str:
        return self.counted.problem if self.counted else ""


def size_words(schema: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """What was fitted, or the main parameters where nothing was: ``Rank 12, Alpha 24``."""
    shapes = read_fields(schema)
    fitted = [shape for shape in shapes if params.get(shape.name, shape.default) != shape.default]
    shown = fitted or [shape for shape in shapes if not shape.advanced][:MOST_SHOWN]
    return ", ".join(_with_value(shape, params.get(shape.name, shape.default)) for shape in shown) or "no sizes"


def export_words(info: "MethodInfo") -> str:
    """The format besides merged weights that other programs read."""
    return EXPORT_WORDS.get(str(info.traits.get("export")), "own format")


def as_csv(lines: Sequence[Line]) -> str:
    """The lines with exact figures; columns as in ``CSV_HEAD``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    writer.writerows(_cells(line) for line in lines)
    return out.getvalue()


def _cells(line: Line) -> list[Any]:
    info, count = line.info, line.count
    figures = [
        json.dumps(count.params), count.trainable, count.total, count.fraction, count.tensors, count.sites,
        count.file_bytes, count.optimizer_bytes,
    ] if count else [""] * 8  # fmt: skip
    merges = "yes" if info.traits.get("mergeable") else "no"
    return [info.id, info.title, *figures, merges, export_words(info), line.problem]


def _with_value(shape: FieldShape, value: Any) -> str:
    shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
    return f"{shape.label} {f'{value:.4g}' if isinstance(value, float) else shown}"


def _sizes(line: Line) -> str:
    if line.counted is None:
        return "counting…"
    return size_words(line.info.params_schema, line.count.params) if line.count else line.problem


def _figure(title: str, of: "Callable[[Count], float]", text: Callable[[Any], str] = "{:,}".format) -> Column[Line]:
    return Column(
        title,
        lambda line: text(of(line.count)) if line.count else "–",
        sort=lambda line: of(line.count) if line.count else float("inf"),
        numeric=True,
    )


COLUMNS: tuple[Column[Line], ...] = (
    Column("Method", lambda line: line.info.title),
    Column("Size", _sizes),
    _figure("Parameters", lambda count: count.trainable),
    _figure("Share", lambda count: count.fraction, "{:.4%}".format),
    _figure("Tensors", lambda count: count.tensors),
    _figure("Sites", lambda count: count.sites),
    _figure("File", lambda count: count.file_bytes, format_bytes),
    _figure("Optimizer", lambda count: count.optimizer_bytes, format_bytes),
    Column("Merges", lambda line: "yes" if line.info.traits.get("mergeable") else "no"),
    Column("Exports", lambda line: export_words(line.info)),
)
SPANNED = (1, len(COLUMNS) - 3)  # from the size on, as far as there are figures: the room of a problem
WIDTHS = (20, 20, 12, 9, 8, 6, 9, 9, 7, 11)
