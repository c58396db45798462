"""Methods side by side: one model, one budget, a row each."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

from studio.gui.fonts import mono_font
from studio.gui.models.records import NUMBER_ALIGNMENT, Index, RecordTable
from studio.gui.models.view import Dispensable, set_widths, stretch, table_view
from studio.gui.screens.methods.comparison_rows import COLUMNS, SPANNED, WIDTHS, Line, as_csv
from studio.gui.screens.methods.entries import Entry
from studio.gui.theme import GRID, theme
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.text import ElidedLabel, strong


class LineTable(RecordTable[Line]):
    """Figures stand under figures; reasons why there are none are grey."""

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.ForegroundRole:
            wrong = index.column() == SPANNED[0] and bool(self.record(index.row()).problem)
            return theme().color("muted") if wrong else None
        if role == Qt.ItemDataRole.FontRole:
            numeric = super().data(index, Qt.ItemDataRole.TextAlignmentRole) == NUMBER_ALIGNMENT
            return mono_font() if numeric else None
        return super().data(index, role)


class ComparisonView(QWidget):
    """Signals: ``closed``; ``opened(method id)`` asks for one in full; ``noted(text)``."""

    closed = Signal()
    opened = Signal(str)
    noted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = LineTable(COLUMNS, self)
        self.heading, self.target = strong(""), ElidedLabel("", role="muted")
        self.table = table_view("Methods side by side", self.model, sortable=True)
        set_widths(self.table, *WIDTHS)
        stretch(self.table, 1)
        Dispensable(self.table, 5, 4, 9, column=1, characters=20)
        self.table.activated.connect(self._open)
        self.model.layoutChanged.connect(self._span_problems)
        copy = button("&Copy as CSV", self.copy, icon="copy")
        back = button("&Back to the gallery", self.closed.emit, icon="undo")
        head = row(self.heading, GRID, self.target, copy, back)
        head.setStretch(2, 1)
        layout = column(head, self.table, spacing=2 * GRID)
        layout.setStretch(1, 1)
        self.setLayout(layout)

    def show_entries(self, entries: Sequence[Entry], target: str) -> None:
        """One line per method; ``target`` says in words what they are counted on."""
        lines = [Line(entry.info, entry.counted) for entry in entries if entry.info is not None]
        self.heading.setText(f"{len(lines)} methods side by side" if len(lines) != 1 else "1 method")
        self.target.setText(target)
        self.model.set_records(lines)
        self._span_problems()

    def copy(self) -> None:
        """Put the table on the clipboard."""
        QGuiApplication.clipboard().setText(as_csv(self.model.records()))
        self.noted.emit(f"{self.model.rowCount()} lines are on the clipboard")

    def _span_problems(self) -> None:
        """A problem stands where the figures would."""
        self.table.clearSpans()
        for row_, line in enumerate(self.model.records()):
            if line.problem:
                self.table.setSpan(row_, SPANNED[0], 1, SPANNED[1])

    def _open(self, index: QModelIndex) -> None:
        self.opened.emit(self.model.record(index.row()).info.id)
