"""A table of records held in memory: libraries, evals, sites, artifacts; at most a few thousand rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from studio.gui.widgets.text import plain

T = TypeVar("T")
Index = QModelIndex | QPersistentModelIndex
RECORD_ROLE = Qt.ItemDataRole.UserRole + 1
NUMBER_ALIGNMENT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
TEXT_ALIGNMENT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column: its title, the text of a record in it, and what to sort by (the text if not given)."""

    title: str
    text: Callable[[T], str]
    sort: Callable[[T], Any] | None = None
    numeric: bool = False
    tip: str = ""


class RecordTable(QAbstractTableModel, Generic[T]):
    """Records of one kind as a table; new lists are applied row by row, so selections survive."""

    def __init__(self, columns: Sequence[Column[T]], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._columns = tuple(columns)
        self._records: list[T] = []
        self._order: tuple[int, Qt.SortOrder] | None = None

    def records(self) -> list[T]:
        return list(self._records)

    def record(self, row: int) -> T:
        return self._records[row]

    def set_records(self, records: Sequence[T]) -> None:
        """Show ``records``: rows that differ are updated, the end grows or shrinks."""
        fresh = self._sorted(records)
        before, after = len(self._records), len(fresh)
        if after < before:
            self.beginRemoveRows(QModelIndex(), after, before - 1)
            del self._records[after:]
            self.endRemoveRows()
        for row in range(min(before, after)):
            if self._records[row] != fresh[row]:
                self._records[row] = fresh[row]
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(self._columns) - 1))
        if after > before:
            self.beginInsertRows(QModelIndex(), before, after - 1)
            self._records.extend(fresh[before:])
            self.endInsertRows()

    def set_columns(self, columns: Sequence[Column[T]]) -> None:
        """Change what is shown of each record."""
        self.beginResetModel()
        self._columns, self._order = tuple(columns), None
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self._records)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self._columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._records):
            return None
        record, column = self._records[index.row()], self._columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(record)
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain(column.text(record))
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return NUMBER_ALIGNMENT if column.numeric else TEXT_ALIGNMENT
        return record if role == RECORD_ROLE else None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self._columns):
            return None
        column = self._columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.tip or None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return NUMBER_ALIGNMENT if column.numeric else TEXT_ALIGNMENT
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        if not 0 <= column < len(self._columns):
            return
        self._order = (column, order)
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        held = [self._records[index.row()] for index in before]
        self._records = self._sorted(self._records)
        rows = {id(record): row for row, record in enumerate(self._records)}
        after = [self.index(rows[id(record)], index.column()) for record, index in zip(held, before, strict=True)]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _sorted(self, records: Sequence[T]) -> list[T]:
        if self._order is None:
            return list(records)
        column = self._columns[self._order[0]]
        key = column.sort or (lambda record: column.text(record).casefold())
        return sorted(records, key=key, reverse=self._order[1] == Qt.SortOrder.DescendingOrder)
