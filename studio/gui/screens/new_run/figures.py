"""Rows of name, figure and a word on it."""

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from studio.gui.theme import GRID
from studio.gui.widgets.text import ElidedLabel, Label, number

Figure = tuple[str, str, str, str | None]  # name, figure, remark, colour of its mark


class Swatch(QWidget):
    """A small square in a colour, painted: a style sheet of its own would take twenty times as long."""

    def __init__(self) -> None:
        super().__init__()
        self._color = QColor()
        self.setFixedSize(10, 10)

    def set_color(self, color: str) -> None:
        self._color = QColor(color)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._color)
        painter.drawRoundedRect(self.rect(), 2, 2)


class Figures(QWidget):
    """So many rows at most. Labels are made ahead and reused, so nothing flickers."""

    def __init__(self, rows: int, *, units_below: bool = False) -> None:
        super().__init__()
        self._units_below = units_below  # right-aligned, so that equal units stand in one column
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(GRID)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(3, 1)
        self._rows: list[tuple[Swatch, Label, Label, Label]] = []
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        for _ in range(rows):
            self._add_row()
        self.show_rows([])

    def show_rows(self, rows: Sequence[Figure]) -> None:
        for index, labels in enumerate(self._rows):
            for label in labels:
                label.setVisible(index < len(rows))
        for labels, row in zip(self._rows, rows, strict=False):
            self._fill(labels, row)

    def _add_row(self) -> None:
        labels = (Swatch(), Label("", role="muted"), number(), ElidedLabel("", role="muted"))
        if self._units_below:
            labels[2].setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for place, label in enumerate(labels):
            self._grid.addWidget(label, len(self._rows), place)
        self._rows.append(labels)

    @staticmethod
    def _fill(labels: tuple[Swatch, Label, Label, Label], values: Figure) -> None:
        name, figure, remark, color = values
        labels[0].setVisible(color is not None)
        if color is not None:
            labels[0].set_color(color)
        labels[1].setText(name)
        labels[2].setText(figure)
        labels[2].setAccessibleName(f"{name}: {figure} {remark}")
        labels[3].setText(remark)
