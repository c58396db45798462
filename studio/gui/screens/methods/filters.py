"""What narrows the gallery: a search, a chip per family, what works on the chosen model, and the order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QPushButton, QWidget

from studio.gui.screens.methods.entries import Wanted
from studio.gui.screens.methods.families import chip_words
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import chip
from studio.gui.widgets.editors import ChoiceEditor
from studio.gui.widgets.flow import FlowLayout
from studio.gui.widgets.layout import clear_layout, column, row
from studio.gui.widgets.search import SearchField

if TYPE_CHECKING:
    from studio.service.methods import MethodInfo

ORDERS = [("title", "By title"), ("count", "By parameters")]


class Filters(QWidget):
    """Signals: ``changed``; ``wanted`` says what is asked for."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.search = SearchField("Search methods, papers, tags")
        self.search.setMinimumWidth(36 * GRID)
        self.search.searched.connect(lambda _: self.changed.emit())
        self.works = QCheckBox("&Works on the model")
        self.works.setToolTip("Leave out what finds nothing to train in the chosen model")
        self.works.toggled.connect(lambda _: self.changed.emit())
        self.order = ChoiceEditor(ORDERS)
        self.order.setMinimumContentsLength(max(len(words) for _, words in ORDERS))
        self.order.setAccessibleName("Order of the methods")
        self.order.edited.connect(lambda _: self.changed.emit())
        self.chips: dict[str, QPushButton] = {}
        self._flow = FlowLayout(spacing=6)
        first = row(self.search, 2 * GRID, self.works, None, self.order)
        first.setStretch(0, 1)
        self.setLayout(column(first, self._flow))

    def wanted(self) -> Wanted:
        families = frozenset(family for family, made in self.chips.items() if made.isChecked())
        return Wanted(self.search.text(), families, self.works.isChecked(), self.order.value())

    def offer(self, infos: Sequence["MethodInfo"]) -> None:
        """One chip per family that there is; chosen ones stay chosen."""
        chosen = self.wanted().families
        clear_layout(self._flow)
        self.chips = {}
        for family, words in chip_words(infos).items():
            made = self.chips[family] = chip(words, checked=family in chosen)
            made.toggled.connect(lambda *_: self.changed.emit())
            self._flow.addWidget(made)

    def clear(self) -> None:
        """Ask for everything."""
        self.search.clear()
        self.works.setChecked(False)
        for made in self.chips.values():
            made.setChecked(False)
