"""Changes that would help, each with what it saves, what it costs, and a button that makes it."""

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPushButton, QWidget

from studio.core.forecast import Advice
from studio.gui.screens.new_run.words import advice_words
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.fields import sentence
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.text import Label, muted


class AdviceList(QWidget):
    """Those that suffice alone come first; lines are reused, so that the keyboard keeps its place.

    Signals: ``advised(patch)``.
    """

    advised = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: list[_Line] = []
        self._column = column()
        self.setLayout(self._column)

    def show_advice(self, advice: Sequence[Advice]) -> None:
        ordered = sorted(advice, key=lambda item: not item.fits)
        while len(self._lines) < len(ordered):
            self._add_line()
        for place, line in enumerate(self._lines):
            line.setVisible(place < len(ordered))
            if place < len(ordered):
                line.show_item(ordered[place])
        self.setVisible(bool(ordered))

    def _add_line(self) -> None:
        line = _Line()
        line.apply.clicked.connect(lambda: self.advised.emit(dict(line.patch)))
        self._lines.append(line)
        self._column.addWidget(line)


class _Line(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.patch: Mapping[str, Any] = {}
        self.change = Label("", wrap=True)
        self.effect = muted("")
        self.apply: QPushButton = button("Apply", help="Change the form accordingly; Undo takes it back")
        layout = row(column(self.change, self.effect, spacing=2), self.apply, spacing=GRID)
        layout.setStretch(0, 1)
        self.setLayout(layout)

    def show_item(self, item: Advice) -> None:
        self.patch = item.patch
        self.change.setText(sentence(item.change))
        self.effect.setText(advice_words(item))
        self.effect.setVisible(bool(self.effect.text()))
        self.apply.setAccessibleName(f"Apply: {sentence(item.change)}")
