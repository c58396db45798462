"""Boxes on the 8 px grid, cards, foldable sections and areas that scroll downwards only."""

from collections.abc import Iterator
from itertools import pairwise

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from studio.gui.icons import set_icon
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.text import Label

_BY_TAB = Qt.FocusPolicy.TabFocus


def row(*items: QWidget | QLayout | int | None, spacing: int = GRID, margin: int = 0) -> QHBoxLayout:
    """A row of widgets and layouts; a number is empty space, None takes what is left."""
    return _filled(QHBoxLayout(), items, spacing, margin)  # type: ignore[return-value]


def column(*items: QWidget | QLayout | int | None, spacing: int = GRID, margin: int = 0) -> QVBoxLayout:
    """A column of widgets and layouts; a number is empty space, None takes what is left."""
    return _filled(QVBoxLayout(), items, spacing, margin)  # type: ignore[return-value]


def boxed(layout: QLayout, parent: QWidget | None = None) -> QWidget:
    """A widget around a layout."""
    widget = QWidget(parent)
    widget.setLayout(layout)
    return widget


def hairline() -> QFrame:
    line = QFrame()
    line.setProperty("role", "line")
    return line


class Card(QFrame):
    """A raised area with an optional heading; add to ``body``."""

    def __init__(self, heading: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.heading = Label(heading, role="strong")
        self.body = QVBoxLayout()
        self.body.setSpacing(GRID)
        self.setLayout(column(self.heading, self.body, margin=2 * GRID))
        self.heading.setVisible(bool(heading))  # once it is in the card: alone it would be a window
        self.setAccessibleName(heading)


class Fold(QWidget):
    """A section that folds away under its heading. Signals: ``folded(bool)``."""

    folded = Signal(bool)

    def __init__(self, heading: str, *, open_: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._heading = heading
        self.toggle: QPushButton = button(heading, self._flip, icon="chevron_right", role="fold")
        self.content = QWidget()
        self.body = QVBoxLayout(self.content)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(GRID)
        self.setLayout(column(row(self.toggle, None), self.content))
        self.set_open(open_)

    @property
    def is_open(self) -> bool:
        return not self.content.isHidden()

    def set_open(self, open_: bool) -> None:
        self.content.setVisible(open_)
        set_icon(self.toggle, "chevron_down" if open_ else "chevron_right", "muted")
        self.toggle.setAccessibleName(f"{self._heading}, {'open' if open_ else 'folded'}")

    def set_heading(self, heading: str) -> None:
        self._heading = heading
        self.toggle.setText(heading)
        self.set_open(self.is_open)

    def _flip(self) -> None:
        self.set_open(not self.is_open)
        self.folded.emit(not self.is_open)


class ScrollColumn(QScrollArea):
    """A column that scrolls downwards, never sideways; add to ``body``."""

    def __init__(self, *, margin: int = 2 * GRID, spacing: int = 2 * GRID, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        inner = self._inner = QWidget()
        inner.setObjectName("scrolled")
        self.body = QVBoxLayout(inner)
        self.body.setContentsMargins(margin, margin, margin, margin)
        self.body.setSpacing(spacing)
        self.setWidget(inner)
        self._margin = margin
        self.verticalScrollBar().rangeChanged.connect(self._balance)
        self.viewport().setAutoFillBackground(False)
        inner.setAutoFillBackground(False)

    def _balance(self, _low: int, high: int) -> None:
        """The scroll bar stands in the right margin, so that cards keep their edge."""
        bar = self.verticalScrollBar().sizeHint().width() if high > 0 else 0
        self.body.setContentsMargins(self._margin, self._margin, max(self._margin - bar, 0), self._margin)

    def minimumSizeHint(self) -> QSize:
        inner = self._inner.minimumSizeHint()
        return QSize(inner.width() + self.verticalScrollBar().sizeHint().width(), 8 * GRID)


def clear_layout(layout: QLayout) -> None:
    """Take everything out of a layout and delete it."""
    while (item := layout.takeAt(0)) is not None:
        widget, inner = item.widget(), item.layout()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
        elif inner is not None:
            clear_layout(inner)
            inner.deleteLater()


def order_tabs(*areas: QWidget) -> None:
    """Let Tab go through the areas in turn, within each as its layouts run; Qt's own order is that of creation."""
    stops = [widget for area in areas for widget in _in_layout_order(area) if widget.focusPolicy() & _BY_TAB]
    for before, after in pairwise(stops):
        QWidget.setTabOrder(before, after)


def _in_layout_order(widget: QWidget) -> Iterator[QWidget]:
    yield widget
    layout = widget.layout()
    scrolled = widget.widget() if isinstance(widget, QScrollArea) else None
    if scrolled is not None:
        yield from _in_layout_order(scrolled)
    elif layout is not None:
        yield from _items_of(layout)


def _items_of(layout: QLayout) -> Iterator[QWidget]:
    for place in range(layout.count()):
        item = layout.itemAt(place)
        widget, inner = item.widget() if item else None, item.layout() if item else None
        if widget is not None:
            yield from _in_layout_order(widget)
        elif inner is not None:
            yield from _items_of(inner)


def _filled(
    box: QBoxLayout, items: tuple[QWidget | QLayout | int | None, ...], spacing: int, margin: int
) -> QBoxLayout:
    box.setSpacing(spacing)
    box.setContentsMargins(margin, margin, margin, margin)
    for item in items:
        if item is None:
            box.addStretch(1)
        elif isinstance(item, int):
            box.addSpacing(item)
        elif isinstance(item, QWidget):
            box.addWidget(item)
        else:
            box.addLayout(item)
    return box
