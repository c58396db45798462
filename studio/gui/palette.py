"""The command palette: type a few letters of what you want to do."""

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QFrame, QLineEdit, QListView, QWidget

from studio.gui.actions import Command, Commands
from studio.gui.theme import GRID
from studio.gui.widgets.layout import column

_ID = Qt.ItemDataRole.UserRole + 1


class CommandPalette(QFrame):
    """A popup over the window; arrow keys choose, Enter runs, Escape closes."""

    def __init__(self, commands: Commands, window: QWidget) -> None:
        super().__init__(window, Qt.WindowType.Popup)
        self.setProperty("role", "card")
        self._commands = commands
        self.field = QLineEdit()
        self.field.setPlaceholderText("What do you want to do?")
        self.field.setAccessibleName("Search commands")
        self.list = QListView()
        self.list.setAccessibleName("Commands")
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self._model = QStandardItemModel(self)
        self.list.setModel(self._model)
        self.setLayout(column(self.field, self.list, margin=GRID))
        self.field.textChanged.connect(self._fill)
        self.field.returnPressed.connect(self._run)
        self.list.clicked.connect(lambda _index: self._run())
        self.field.installEventFilter(self)

    def open(self) -> None:
        """Show it over the upper middle of the window."""
        window = self.parentWidget()
        width = min(70 * GRID, window.width() - 4 * GRID)
        self.resize(width, 48 * GRID)
        self.move(window.mapToGlobal(window.rect().topLeft()).x() + (window.width() - width) // 2,
                  window.mapToGlobal(window.rect().topLeft()).y() + 8 * GRID)  # fmt: skip
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
            item = QStandardItem(f"{command.title}    {shortcut}" if shortcut else command.title)
            item.setData(command.id, _ID)
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


def find_commands(commands: list[Command], text: str) -> list[Command]:
    """Enabled commands whose title has all words of ``text``; those that begin with it first."""
    words = text.lower().split()
    found = [
        command for command in commands if command.enabled() and all(word in command.title.lower() for word in words)
    ]
    return sorted(found, key=lambda command: not command.title.lower().startswith(text.lower()))
