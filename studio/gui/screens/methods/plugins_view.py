"""The plugins of others: install, turn on and off, check, remove. Their code never runs in the window."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QSplitter, QStackedWidget, QWidget

from studio.core.errors import Cancelled, StudioError, UserError
from studio.gui.backend import Backend
from studio.gui.models.records import RecordTable
from studio.gui.models.view import Dispensable, set_widths, stretch, table_view
from studio.gui.screens.methods.plugin_panel import PluginPanel
from studio.gui.screens.methods.plugin_tables import others, plugin_columns
from studio.gui.settings import remember_splitter
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.notices import EmptyState, ErrorCard, Progress
from studio.gui.widgets.questions import ask, choose_file, choose_folder
from studio.gui.widgets.text import muted, strong

if TYPE_CHECKING:
    from studio.service.check_reports import Report
    from studio.service.plugins import PluginInfo

TRUST = "A plugin is a program: turn on only what you trust. Its code runs in helper processes and in runs."
ADVICE = "Install one from a folder, a .zip or a .whl."


class PluginsView(QWidget):
    """Signals: ``closed``; ``changed`` when there are other methods now; ``noted(text)``."""

    closed = Signal()
    changed = Signal()
    noted = Signal(str)

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._backend = backend
        self._chosen = ""
        self.model: RecordTable[PluginInfo] = RecordTable(plugin_columns(), self)
        self.panel = PluginPanel(backend)
        self.error, self.progress = ErrorCard(), Progress()
        self._build()
        self.panel.switch.clicked.connect(self._switch)
        self.panel.check.clicked.connect(self._check)
        self.panel.remove.clicked.connect(self._ask_remove)

    def reload(self, plugin_id: str = "") -> None:
        """Read the plugins again and select one."""
        self._chosen = plugin_id or self._chosen
        self.progress.start("Asking the plugins")
        run_task(self, self._backend.plugins, done=self._show, failed=self._failed)

    def selected(self) -> "PluginInfo | None":
        rows = self.table.selectionModel().selectedRows()
        return self.model.record(rows[0].row()) if rows else None

    def install(self, path: str, *, replace: bool = False) -> None:
        """Copy the plugin of a folder, .zip or .whl and turn it on."""

        def refused(error: StudioError) -> None:
            known = isinstance(error, UserError) and Path(error.where).parent == self._backend.home().plugins
            if known and not replace:
                self._end()
                self._ask_replace(path, error)
            else:
                self._failed(error)

        self._begin("Installing", self._backend.install_plugin, Path(path), replace=replace,
                    done=lambda info: self._changed(info.id, f"{info.id} is installed"), failed=refused)  # fmt: skip

    def _build(self) -> None:
        self.table = table_view("Plugins", self.model, sortable=True)
        set_widths(self.table, 24, 7, 11, 15)
        stretch(self.table)
        Dispensable(self.table, 2, 1)
        self.table.setMinimumWidth(45 * GRID)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._on_selection())
        self.empty = EmptyState("add", "No plugins of others", ADVICE)
        self.lists = QStackedWidget()
        for widget in (self.table, self.empty):
            self.lists.addWidget(widget)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.lists)
        split.addWidget(self.panel)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 4)
        split.setChildrenCollapsible(False)
        remember_splitter(split, "plugins")
        self.panel.hide()
        file = button("&Install a file…", self._choose_file, icon="add", help="A .zip or a .whl with one plugin in it")
        folder = button("Install a fol&der…", self._choose_folder, icon="folder")
        self._actions = (file, folder, self.panel.switch, self.panel.check, self.panel.remove)
        back = button("&Back to the gallery", self.closed.emit, icon="undo")
        head = row(strong("Plugins of others"), None, file, folder, GRID, back)
        layout = column(head, muted(TRUST), self.error, self.progress, split, spacing=GRID)
        layout.setStretch(4, 1)
        self.setLayout(layout)

    def _show(self, plugins: "list[PluginInfo]") -> None:
        self._end()
        found = others(plugins)
        self.model.set_records(found)
        self.lists.setCurrentWidget(self.table if found else self.empty)
        ids = [info.id for info in self.model.records()]
        if found:
            self.table.selectRow(ids.index(self._chosen) if self._chosen in ids else 0)
        self._on_selection()

    def _on_selection(self) -> None:
        info = self.selected()
        self.panel.setVisible(info is not None)
        if info is not None:
            self._chosen = info.id
            self.panel.show_plugin(info)

    def _switch(self) -> None:
        info = self.selected()
        if info is None:
            return
        call = self._backend.disable_plugin if info.enabled else self._backend.enable_plugin
        word = "off" if info.enabled else "on"
        self._begin(f"Turning {info.id} {word}", call, info.id,
                    done=lambda now: self._changed(info.id, "" if now.error else f"{info.id} is {word}"))  # fmt: skip

    def _check(self) -> None:
        info = self.selected()
        if info is not None:
            progress = self.progress.report
            self._begin("Checking", self._backend.check_plugin, info.id, done=self._checked, progress=progress)

    def _checked(self, report: "Report") -> None:
        self._changed(report.id, f"{report.id} {'passes' if report.passed else 'fails'} the checks")

    def _ask_remove(self) -> None:
        info = self.selected()
        if info is None:
            return

        def remove() -> None:
            self._begin("Removing", self._backend.remove_plugin, info.id,
                        done=lambda _: self._changed("", f"{info.id} is removed"))  # fmt: skip

        ask(self, "Remove the plugin", f"Delete {info.id} from your plugins folder?", [("Remove", remove)],
            informative="Runs that used it can no longer be continued.")  # fmt: skip

    def _ask_replace(self, path: str, error: StudioError) -> None:
        ask(self, "Replace the plugin", f"There is {Path(error.where).name} already.",
            [("Replace", lambda: self.install(path, replace=True))])  # fmt: skip

    def _choose_file(self) -> None:
        choose_file(self, "Install a plugin", "Plugins (*.zip *.whl)", self.install)

    def _choose_folder(self) -> None:
        choose_folder(self, "Install the plugin in a folder", self.install)

    def _begin(
        self, phase: str, function: Callable[..., Any], *args: Any, done: Callable[[Any], None],
        failed: Callable[[StudioError], None] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """One thing at a time, in the background."""
        self.error.hide()
        task = run_task(self, function, *args, done=done, failed=failed or self._failed, **kwargs)
        self.progress.start(phase, task)
        for made in self._actions:
            made.setEnabled(False)

    def _end(self) -> None:
        self.progress.stop()
        for made in self._actions:
            made.setEnabled(True)

    def _changed(self, plugin_id: str, words: str) -> None:
        if words:
            self.noted.emit(words)
        self.reload(plugin_id)
        self.changed.emit()

    def _failed(self, error: StudioError) -> None:
        self._end()
        if isinstance(error, Cancelled):
            self.reload()
        else:
            self.error.show_error(error)
