"""The values behind a plot as a table, for eyes and screen readers that want numbers."""

import math
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt

from studio.core.units import format_number
from studio.gui.models.records import NUMBER_ALIGNMENT, Index
from studio.gui.plots.series import Floats


class SeriesTable(QAbstractTableModel):
    """One row per point of the longest curve's x; curves with other points have their own rows."""

    def __init__(self, x_title: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._x_title = x_title
        self._titles: list[str] = []
        self._curves: list[dict[float, float]] = []
        self._xs: list[float] = []

    def set_curves(self, curves: list[tuple[str, Floats, Floats]]) -> None:
        """Show these curves: (title, x, y). Points added at the end become new rows, all else a new table."""
        titles = [title for title, _, _ in curves]
        points = [dict(zip(x.tolist(), y.tolist(), strict=True)) for _, x, y in curves]
        xs = sorted({x for curve in points for x in curve})
        known = len(self._xs)
        if titles == self._titles and known and xs[:known] == self._xs:
            if len(xs) > known:
                self.beginInsertRows(QModelIndex(), known, len(xs) - 1)
                self._curves, self._xs = points, xs
                self.endInsertRows()
            self._curves = points
            return
        self.beginResetModel()
        self._titles, self._curves, self._xs = titles, points, xs
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self._xs)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else 1 + len(self._titles)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return NUMBER_ALIGNMENT
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        x = self._xs[index.row()]
        if index.column() == 0:
            return f"{x:,.0f}" if x == int(x) else f"{x:,.1f}"
        return _value_text(self._curves[index.column() - 1].get(x))

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal or role != Qt.ItemDataRole.DisplayRole:
            return None
        return [self._x_title, *self._titles][section] if 0 <= section <= len(self._titles) else None


def _value_text(value: float | None) -> str:
    if value is None:
        return ""
    if math.isnan(value):
        return "NaN"
    return format_number(value) if math.isfinite(value) else "infinite"
