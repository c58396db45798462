"""The command palette: type a few letters of what you want to do."""

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence, QPainter, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QFrame, QLineEdit, QListView, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from studio.gui.actions import Command, Commands
from studio.gui.theme import GRID, theme
from studio.gui.widgets.layout import column

_ID = Qt.ItemDataRole.UserRole + 1
_SHORTCUT = _ID + 1


class CommandPalette(QFrame):
    """A popup over the window; arrow keys choose, Enter runs, Escape closes."""

    def __init__(self, commands: Commands, window: QWidget) -> None:
        super().__init__(window, Qt.WindowType.Popup)
        self.setProperty("role", "card")
        self._commands, self._over = commands, window
        self.field = QLineEdit()
        self.field.setPlaceholderText("What do you want to do?")
        self.field.setAccessibleName("Search commands")
        self.list = QListView()
        self.list.setAccessibleName("Commands")
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.list.setItemDelegate(_ShortcutDelegate(self.list))
        self._model = QStandardItemModel(self)
        self.list.setModel(self._model)
        self.setLayout(column(self.field, self.list, margin=GRID))
        self.field.textChanged.connect(self._fill)
        self.field.returnPressed.connect(self._run)
        self.list.clicked.connect(lambda _index: self._run())
        self.field.installEventFilter(self)

    def open(self) -> None:
        """Show it over the upper middle of the window."""
        width = min(70 * GRID, self._over.width() - 4 * GRID)
        corner = self._over.mapToGlobal(self._over.rect().topLeft())
        self.resize(width, 48 * GRID)
        self.move(corner.x() + (self._over.width() - width) // 2, corner.y() + 8 * GRID)
        self.field.clear()
        self._fill("")
        self.show()
        self.field.setFocus()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            moves = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}
            step = moves.get(Qt.Key(event.key()))
            if step is not None and self._model.rowCount():
                self._select((self.list.currentIndex().row() + step) % self._model.rowCount())
                return True
        return super().eventFilter(watched, event)

    def _fill(self, text: str) -> None:
        self._model.clear()
        for command in find_commands(self._commands.all(), text):
            shortcut = QKeySequence(command.shortcut).toString(QKeySequence.SequenceFormat.NativeText)
            item = QStandardItem(command.title)
            item.setData(command.id, _ID)
            item.setData(shortcut, _SHORTCUT)
            self._model.appendRow(item)
        if self._model.rowCount():
            self._select(0)

    def _select(self, row: int) -> None:
        self.list.setCurrentIndex(self._model.index(row, 0))

    def _run(self) -> None:
        chosen = self.list.currentIndex().data(_ID)
        if chosen is not None:
            self.hide()
            self._commands.trigger(chosen)


class _ShortcutDelegate(QStyledItemDelegate):
    """The title as usual, the shortcut at the right."""

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        super().paint(painter, option, index)
        painter.setPen(theme().color("muted"))
        box = option.rect.adjusted(0, 0, -2 * GRID, 0)
        painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), index.data(_SHORTCUT))


def find_commands(commands: list[Command], text: str) -> list[Command]:
    """Enabled commands whose title has all words of ``text``; those that begin with it first."""
    words = text.lower().split()
    found = [
        command for command in commands if command.enabled() and all(word in command.title.lower() for word in words)
    ]
    return sorted(found, key=lambda command: not command.title.lower().startswith(text.lower()))
