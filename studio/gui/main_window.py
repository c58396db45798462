"""The main window: rail, screens, status line, commands."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QElapsedTimer, QTimer, QUrl
from PySide6.QtGui import QCloseEvent, QDesktopServices, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QMainWindow, QStackedWidget

from studio import __version__
from studio.core.errors import Cancelled, StudioError
from studio.core.units import format_bytes
from studio.gui import settings
from studio.gui.actions import Command, Commands
from studio.gui.appearance import dress
from studio.gui.backend import Backend
from studio.gui.palette import CommandPalette
from studio.gui.plots.queue import plot_queue
from studio.gui.rail import Rail
from studio.gui.screens.base import Screen
from studio.gui.screens.registry import SCREENS, entry, preload
from studio.gui.tasks import Task, run_task, task_hub
from studio.gui.theme import GRID, theme
from studio.gui.widgets.layout import boxed, row
from studio.gui.widgets.notices import Toast
from studio.gui.widgets.questions import ask
from studio.gui.widgets.text import Label

if TYPE_CHECKING:
    from studio.gui.help import HelpDialog

PIECE_PAUSE_MS = 15  # between pieces of screens, for what the user does meanwhile
VISIT_MS = 400  # in which a screen that has just come into view fills itself
SPEC_ENDINGS = (".yaml", ".yml", ".json")


class MainWindow(QMainWindow):
    """Builds each screen in the background, or at once when it is visited before that."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self.setWindowTitle("PET Studio")
        self.setAcceptDrops(True)
        self._screens: dict[str, Screen] = {}
        self._active_runs: list[str] = []
        self._may_close = False
        self._asking: Task | None = None
        self._help: HelpDialog | None = None
        self.rail = Rail(SCREENS)
        self.stack = QStackedWidget()
        content = row(self.rail, self.stack, spacing=0)
        content.setStretch(1, 1)
        self.setCentralWidget(boxed(content))
        self.commands = Commands(self)
        self.palette_popup = CommandPalette(self.commands, self)
        self.toast = Toast(self.stack)
        self._make_status_line()
        self._make_commands()
        self.rail.chosen.connect(self.show_screen)
        task_hub().unhandled.connect(self._show_error)
        theme().dress(self)
        if not settings.restore_window(self):
            self.resize(1280, 800)
        self._pulse = QTimer(self, interval=2000)
        self._pulse.timeout.connect(self._ask_for_active_runs)
        self._visit = QElapsedTimer()  # since a screen came into view
        self._piecework = QTimer(self, interval=PIECE_PAUSE_MS)
        self._piecework.timeout.connect(self._build_piece)

    @property
    def current(self) -> Screen | None:
        widget = self.stack.currentWidget()
        return widget if isinstance(widget, Screen) else None

    def show_screen(self, screen_id: str, argument: Any = None) -> None:
        """Bring a screen into view, built if need be."""
        before = self.current
        screen = self._screens.get(screen_id) or self._begin(screen_id)
        with self._dropped_if_it_fails(screen_id):
            screen.complete()
        if before is not None and before is not screen:
            before.leave()
        self.stack.setCurrentWidget(screen)
        self.rail.mark(screen_id)
        self.setWindowTitle(f"{entry(screen_id).title} — PET Studio")
        screen.enter(argument)
        self._visit.start()

    def start_background_work(self) -> None:
        """What the first paint need not wait for."""
        run_task(self, self.backend.devices, done=self._show_devices)
        run_task(self, preload, done=lambda _none: self._piecework.start())
        self._ask_for_active_runs()
        self._pulse.start()

    def open_spec(self, path: str) -> None:
        """Show a spec file in the New run form."""
        self.show_screen("new_run", {"file": path})

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if _dropped_spec(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        path = _dropped_spec(event)
        if path:
            event.acceptProposedAction()
            self.open_spec(path)

    def closeEvent(self, event: QCloseEvent) -> None:
        if self._active_runs and not self._may_close and self.backend.load_settings().confirm_close:
            event.ignore()
            self._ask_about_runs()
            return
        settings.save_window(self)
        self._pulse.stop()
        self._piecework.stop()
        if self.current is not None:
            self.current.leave()
        super().closeEvent(event)

    def _build_piece(self) -> None:
        """Build the screens not visited yet, a piece at a time: a first visit need not wait for it."""
        if plot_queue().is_busy or task_hub().is_busy or not self._visit.hasExpired(VISIT_MS):
            return  # the user waits for these
        for made in SCREENS:
            screen = self._screens.get(made.id) or self._begin(made.id)
            with self._dropped_if_it_fails(made.id):
                if screen.build_piece():
                    return
        self._piecework.stop()
        # a full collection among all that was imported and built takes longer than a frame; nothing of it goes away
        gc.freeze()

    @contextmanager
    def _dropped_if_it_fails(self, screen_id: str) -> Iterator[None]:
        """A screen that could not be built is begun anew by the next visit; the others wait for theirs."""
        try:
            yield
        except BaseException:
            self._piecework.stop()
            screen = self._screens.pop(screen_id)
            self.stack.removeWidget(screen)
            screen.deleteLater()
            raise

    def _begin(self, screen_id: str) -> Screen:
        screen = entry(screen_id).begin(self.backend)
        screen.setAccessibleName(entry(screen_id).title)
        screen.navigate.connect(self.show_screen)
        screen.noted.connect(self.toast.show_note)
        self._screens[screen_id] = screen
        self.stack.addWidget(screen)
        return screen

    def _make_status_line(self) -> None:
        self.device_note = Label("", role="muted")
        self.runs_note = Label("No run is training", role="muted")
        self.runs_note.setAccessibleName("Running runs")
        self.statusBar().setSizeGripEnabled(False)
        self.statusBar().addWidget(boxed(row(GRID, self.device_note)))
        self.statusBar().addPermanentWidget(boxed(row(self.runs_note, GRID)))

    def _make_commands(self) -> None:
        add = self.commands.add
        add(Command("new_run", "New run", lambda: self.show_screen("new_run"), "File", "Ctrl+N"))
        add(Command("open_spec", "Open spec…", lambda: self._new_run("import_spec"), "File", "Ctrl+O"))
        add(Command("save_spec", "Save spec as…", lambda: self._new_run("export_spec"), "File", "Ctrl+Shift+S"))
        add(Command("start_run", "Start run", lambda: self._new_run("start"), "File", "Ctrl+Return"))
        add(Command("probe", "Probe the run", lambda: self._new_run("probe")))
        add(Command("compare_devices", "Which devices can run this?", lambda: self._new_run("compare_devices")))
        add(Command("quit", "Quit", self.close, "File", "Ctrl+Q"))
        add(Command("undo", "Undo change of the form", lambda: self._new_run("undo"), "Edit", "Ctrl+Z"))
        add(Command("redo", "Redo change of the form", lambda: self._new_run("redo"), "Edit", "Ctrl+Shift+Z"))
        for number, screen in enumerate(SCREENS, start=1):
            title = f"Go to {screen.title}"
            show = lambda name=screen.id: self.show_screen(name)  # noqa: E731 - bound early, once per screen
            add(Command(f"go_{screen.id}", title, show, "View", f"Ctrl+{number}"))
        for name in ("light", "dark", "system"):
            choose = lambda name=name: self._choose_theme(name)  # noqa: E731
            add(Command(f"theme_{name}", f"Theme: {name}", choose, "View"))
        add(Command("help", "Help on this screen", self._show_help, "Help", "F1"))
        add(Command("keyboard", "Keyboard", lambda: self._show_help("keyboard"), "Help"))
        add(Command("changelog", "What is new", lambda: self._show_help("changelog"), "Help"))
        add(Command("palette", "Find a command…", self.palette_popup.open, "Help", "Ctrl+Shift+P"))
        add(Command("welcome", "Train your first model", lambda: self.show_screen("first_run"), "Help"))
        add(Command("logs", "Open the folder of logs", self._open_logs, "Help"))
        add(Command("about", "About PET Studio", self._about, "Help"))
        self.commands.fill_menu_bar(self.menuBar())

    def _new_run(self, verb: str) -> None:
        self.show_screen("new_run")
        getattr(self._screens["new_run"], verb)()

    def _choose_theme(self, name: str) -> None:
        chosen = self.backend.load_settings().model_copy(update={"theme": name})
        dress(chosen)
        run_task(self, self.backend.save_settings, chosen)

    def _show_help(self, page: str = "") -> None:
        from studio.gui.help import HelpDialog

        if self._help is None:
            self._help = HelpDialog(self)
        self._help.show_page(page or (self.current.id if self.current is not None else ""))

    def _open_logs(self) -> None:
        folder = self.backend.home().logs
        folder.mkdir(parents=True, exist_ok=True)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _about(self) -> None:
        text = f"PET Studio {__version__}"
        more = f"Licence: Apache-2.0\nYour files are in {self.backend.home().root}"
        ask(self, "About", text, [("OK", lambda: None)], informative=more, cancel="Close")

    def _show_devices(self, devices: list[Any]) -> None:
        words = [
            f"{device.name}, {format_bytes(device.free_bytes)} free" for device in devices if device.kind == "cuda"
        ]
        cpu = next((device for device in devices if device.kind == "cpu"), None)
        if not words and cpu is not None:
            words = [f"No NVIDIA GPU; CPU with {cpu.cores or '?'} cores, {format_bytes(cpu.free_bytes)} of memory free"]
        self.device_note.setText("  ·  ".join(words))

    def _ask_for_active_runs(self) -> None:
        if self._asking is None or self._asking.finished:
            self._asking = run_task(
                self, self.backend.active_runs, done=self._show_active_runs, failed=self._lose_active_runs
            )

    def _lose_active_runs(self, error: StudioError) -> None:
        """Say it once, instead of every two seconds."""
        self._pulse.stop()
        self.runs_note.setText("The catalog of runs cannot be read")
        if not isinstance(error, Cancelled):
            self._show_error(error)

    def _show_active_runs(self, active: list[str]) -> None:
        if active == self._active_runs:
            return
        self._active_runs = active
        words = {0: "No run is training", 1: "1 run is training"}
        self.runs_note.setText(words.get(len(active), f"{len(active)} runs are training"))

    def _ask_about_runs(self) -> None:
        count = len(self._active_runs)
        ask(
            self,
            "Runs are training",
            f"{count} run{'s are' if count > 1 else ' is'} training.",
            [("Keep running", self._close_now), ("Stop and save", self._stop_and_close)],
            informative="A run goes on without the window; you find it here when you come back.",
        )

    def _close_now(self) -> None:
        self._may_close = True
        self.close()

    def _stop_and_close(self) -> None:
        def stop_all(run_ids: list[str]) -> None:
            for run_id in run_ids:
                self.backend.stop_run(run_id)

        run_task(self, stop_all, list(self._active_runs), done=lambda _none: self._close_now())

    def _show_error(self, error: StudioError) -> None:
        place = f"\n{error.where}" if error.where else ""
        ask(self, "Something went wrong", error.message + place, [("OK", lambda: None)],
            informative=error.hint, cancel="Close")  # fmt: skip


def _dropped_spec(event: QDropEvent) -> str:
    """The path of the one spec file being dragged, else empty."""
    paths = [url.toLocalFile() for url in event.mimeData().urls()]
    return paths[0] if len(paths) == 1 and paths[0].lower().endswith(SPEC_ENDINGS) else ""
