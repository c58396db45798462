"""The one way tables look: whole rows, no grid, numbers right, the keyboard goes everywhere."""

from PySide6.QtCore import QAbstractItemModel, QEvent, QObject, Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from studio.gui.fonts import body_font
from studio.gui.models.records import TEXT_ALIGNMENT
from studio.gui.theme import theme

_WIDTHS = "characters of the columns"


def table_view(name: str, model: QAbstractItemModel, *, sortable: bool = False, multiple: bool = False) -> QTableView:
    """A read-only table; ``name`` is what a screen reader calls it."""
    view = QTableView()
    view.setAccessibleName(name)
    view.setModel(model)
    view.setShowGrid(False)
    view.setWordWrap(False)
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    mode = QAbstractItemView.SelectionMode
    view.setSelectionMode(mode.ExtendedSelection if multiple else mode.SingleSelection)
    view.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    view.setTabKeyNavigation(False)
    view.verticalHeader().hide()
    header = view.horizontalHeader()
    header.setHighlightSections(False)
    header.setStretchLastSection(True)
    header.setDefaultAlignment(TEXT_ALIGNMENT)
    header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
    if sortable:
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)  # first: enabling sorts by the indicator at once
        view.setSortingEnabled(True)
    _fit(view)
    theme().watch(view, _fit)
    return view


def set_widths(view: QTableView, *characters: int) -> None:
    """Column widths in characters of the view's font; the last column takes the rest."""
    view.setProperty(_WIDTHS, list(characters))
    _fit(view)


def _fit(view: QTableView) -> None:
    """Row height and column widths from the font, so that a larger text size is not clipped."""
    metrics = QFontMetrics(body_font())
    view.verticalHeader().setDefaultSectionSize(metrics.height() + 14)
    for column, count in enumerate(view.property(_WIDTHS) or ()):
        view.setColumnWidth(column, count * metrics.averageCharWidth() + 16)


class Dispensable(QObject):
    """Hides columns that a narrow table can do without, in the order given, until ``column`` has its characters."""

    def __init__(self, view: QTableView, *dispensable: int, column: int = 0, characters: int = 16) -> None:
        super().__init__(view)
        self._view, self._dispensable = view, dispensable
        self._column, self._characters = column, characters
        view.viewport().installEventFilter(self)
        theme().watch(self, Dispensable._fit)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._fit()
        return False

    def _fit(self) -> None:
        view, advance = self._view, QFontMetrics(body_font()).averageCharWidth()
        widths = {place: count * advance + 16 for place, count in enumerate(view.property(_WIDTHS) or ())}
        widths[self._column] = self._characters * advance + 16
        missing = sum(widths.values()) - view.viewport().width()
        for place in self._dispensable:
            hidden = missing > 0
            missing -= widths.get(place, 0)
            if view.isColumnHidden(place) != hidden:
                view.setColumnHidden(place, hidden)


def stretch(view: QTableView, column: int = 0) -> None:
    """Let one column take the room the others leave, so that the table never scrolls sideways."""
    header = view.horizontalHeader()
    header.setStretchLastSection(False)
    header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
