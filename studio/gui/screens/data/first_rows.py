"""The first rows of a file while the rest of it is read in."""

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFrame, QWidget

from studio.gui.models.pages import PagedTable
from studio.gui.models.view import table_view
from studio.gui.screens.data.tables import Row, row_columns
from studio.gui.theme import GRID
from studio.gui.widgets.layout import column
from studio.gui.widgets.text import ElidedLabel, muted

if TYPE_CHECKING:
    from studio.datasets.peek import Peek


class FirstRows(QFrame):
    """Shows what a file begins with; out of sight until it is told."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "panel")
        self.heading, self.about = ElidedLabel("", role="title"), muted("")
        self.rows: PagedTable[Row] = PagedTable((), self)
        self._view = table_view("First rows of the file", self.rows)
        self._view.verticalHeader().show()
        layout = column(self.heading, self.about, self._view, margin=2 * GRID)
        layout.setStretch(2, 1)
        self.setLayout(layout)
        self.hide()

    def show_peek(self, peek: "Peek") -> None:
        """What was read of a file so far."""
        self.heading.setText(peek.name)
        self.about.setText(f"The first {len(peek.rows):,} rows; the others are being read. {peek.reason}".strip())
        self.rows.restart(len(peek.rows), row_columns(peek.columns))
        self.rows.set_page(0, peek.rows)
        for place in range(len(peek.columns)):
            self._view.setColumnWidth(place, 22 * GRID)
        self.show()
