"""A table whose rows arrive page by page from a background task: the catalog, a dataset's rows."""

from collections.abc import Sequence
from typing import Any, Generic

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt, Signal

from studio.gui.models.records import NUMBER_ALIGNMENT, RECORD_ROLE, TEXT_ALIGNMENT, Column, Index, T
from studio.gui.widgets.text import plain

PAGE_ROWS = 100


class PagedTable(QAbstractTableModel, Generic[T]):
    """Knows how many rows there are and asks for pages as views touch them.

    ``page_wanted`` names a page once; whoever serves it answers with ``set_page``, in any order and any time
    later. Until then the row's cells are empty.
    """

    page_wanted = Signal(int)
    sort_wanted = Signal(int, Qt.SortOrder)

    def __init__(self, columns: Sequence[Column[T]], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._columns = tuple(columns)
        self._count = 0
        self._pages: dict[int, list[T]] = {}
        self._asked: set[int] = set()

    def restart(self, count: int, columns: Sequence[Column[T]] | None = None) -> None:
        """Another query: forget every page, show ``count`` rows."""
        self.beginResetModel()
        self._columns = tuple(columns) if columns is not None else self._columns
        self._count = count
        self._pages.clear()
        self._asked.clear()
        self.endResetModel()

    def set_count(self, count: int) -> None:
        """The same query has more or fewer rows now; the ones shown stay until their pages come."""
        if count > self._count:
            self.beginInsertRows(QModelIndex(), self._count, count - 1)
            self._count = count
            self.endInsertRows()
        elif count < self._count:
            self.beginRemoveRows(QModelIndex(), count, self._count - 1)
            self._count = count
            self.endRemoveRows()

    def set_page(self, page: int, records: Sequence[T]) -> None:
        """Fill or refresh one page; only rows that differ are announced."""
        self._asked.discard(page)
        before = self._pages.get(page, [])
        self._pages[page] = list(records)
        start = page * PAGE_ROWS
        changed = [
            row
            for row, record in enumerate(records)
            if start + row < self._count and (row >= len(before) or before[row] != record)
        ]
        if changed:
            last_column = len(self._columns) - 1
            self.dataChanged.emit(self.index(start + changed[0], 0), self.index(start + changed[-1], last_column))

    def loaded_pages(self) -> list[int]:
        return sorted(self._pages)

    def record(self, row: int) -> T | None:
        """The record of a row, None while its page is on the way."""
        page, offset = divmod(row, PAGE_ROWS)
        records = self._pages.get(page)
        if records is None:
            if 0 <= row < self._count and page not in self._asked:
                self._asked.add(page)
                self.page_wanted.emit(page)
            return None
        return records[offset] if offset < len(records) else None

    def find(self, key: Any, of: Any) -> int | None:
        """The row of the loaded record for which ``of(record) == key``."""
        for page, records in self._pages.items():
            for offset, record in enumerate(records):
                if of(record) == key:
                    return page * PAGE_ROWS + offset
        return None

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else self._count

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self._columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        column = self._columns[index.column()]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return NUMBER_ALIGNMENT if column.numeric else TEXT_ALIGNMENT
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, RECORD_ROLE):
            return None
        record = self.record(index.row())
        if record is None:
            return None
        if role == RECORD_ROLE:
            return record
        text = column.text(record)
        return plain(text) if role == Qt.ItemDataRole.ToolTipRole else text

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Vertical:
            return str(section + 1) if role == Qt.ItemDataRole.DisplayRole else None
        if not 0 <= section < len(self._columns):
            return None
        column = self._columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return NUMBER_ALIGNMENT if column.numeric else TEXT_ALIGNMENT
        return column.tip or None if role == Qt.ItemDataRole.ToolTipRole else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sorting is the query's work: ask for it."""
        self.sort_wanted.emit(column, order)
