"""Every command of the window, declared once; menus, shortcuts and the palette are drawn from this list."""

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenuBar, QWidget


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Command:
    """Something the user can do. ``menu`` is the menu it stands in; ``enabled`` is asked when it is shown."""

    id: str
    title: str
    run: Callable[[], object]
    menu: str = ""
    shortcut: str = ""
    enabled: Callable[[], bool] = _always


class Commands:
    """The registry of a window's commands."""

    def __init__(self, window: QWidget) -> None:
        self._window = window
        self._commands: dict[str, Command] = {}
        self._actions: dict[str, QAction] = {}

    def add(self, command: Command) -> QAction:
        """Register a command and put its shortcut into force."""
        if command.id in self._commands:
            raise ValueError(f"command {command.id!r} is registered twice")
        action = QAction(command.title, self._window)
        action.setObjectName(command.id)
        if command.shortcut:
            action.setShortcut(QKeySequence(command.shortcut))
            action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
        action.triggered.connect(lambda *_: self.trigger(command.id))
        self._window.addAction(action)
        self._commands[command.id] = command
        self._actions[command.id] = action
        return action

    def all(self) -> list[Command]:
        return list(self._commands.values())

    def trigger(self, command_id: str) -> None:
        """Run a command if it is enabled now."""
        command = self._commands[command_id]
        if command.enabled():
            command.run()

    def fill_menu_bar(self, bar: QMenuBar) -> None:
        """One menu per distinct ``menu``, in the order of first use."""
        for name in dict.fromkeys(command.menu for command in self.all() if command.menu):
            menu = bar.addMenu(f"&{name}")
            members = [command for command in self.all() if command.menu == name]
            for command in members:
                menu.addAction(self._actions[command.id])
            menu.aboutToShow.connect(lambda members=members: self._refresh(members))

    def _refresh(self, commands: list[Command]) -> None:
        for command in commands:
            self._actions[command.id].setEnabled(command.enabled())
