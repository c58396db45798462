"""Rows of name, figure and a word on it."""

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from studio.gui.theme import GRID
from studio.gui.widgets.text import ElidedLabel, Label, number

Figure = tuple[str, str, str, str | None]  # name, figure, remark, colour of its mark


class Figures(QWidget):
    """Labels are reused, so nothing flickers."""

    def __init__(self, *, units_below: bool = False) -> None:
        super().__init__()
        self._units_below = units_below  # right-aligned, so that equal units stand in one column
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(GRID)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(3, 1)
        self._rows: list[tuple[QLabel, Label, Label, Label]] = []
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def show_rows(self, rows: Sequence[Figure]) -> None:
        while len(self._rows) < len(rows):
            self._add_row()
        for index, labels in enumerate(self._rows):
            for label in labels:
                label.setVisible(index < len(rows))
            if index < len(rows):
                self._fill(labels, rows[index])

    def _add_row(self) -> None:
        labels = (QLabel(), Label("", role="muted"), number(), ElidedLabel("", role="muted"))
        labels[0].setFixedSize(10, 10)
        if self._units_below:
            labels[2].setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for place, label in enumerate(labels):
            self._grid.addWidget(label, len(self._rows), place)
        self._rows.append(labels)

    @staticmethod
    def _fill(labels: tuple[QLabel, Label, Label, Label], values: Figure) -> None:
        name, figure, remark, color = values
        labels[0].setVisible(color is not None)
        if color is not None:
            labels[0].setStyleSheet(f"background: {color}; border-radius: 2px;")
        labels[1].setText(name)
        labels[2].setText(figure)
        labels[2].setAccessibleName(f"{name}: {figure} {remark}")
        labels[3].setText(remark)
