"""The Run screen: opens a run, follows it, and sends it the user's wishes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QStackedWidget

from studio.core.errors import StudioError
from studio.gui.screens.base import Screen
from studio.gui.screens.live.details import RunDetails, load_details
from studio.gui.screens.live.run_view import RunView
from studio.gui.screens.live.words import controls
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import boxed, column, row
from studio.gui.widgets.notices import EmptyState, ErrorCard
from studio.gui.widgets.questions import choose_folder


class RunScreen(Screen):
    """``enter(run id)`` opens that run; without one, the run shown before or else the newest."""

    id = "run"

    def assemble(self) -> Iterator[None]:
        self.run_id = ""
        self.view, self.problem = RunView(), ErrorCard()
        self._lay_out()
        yield
        yield from self.view.assemble()
        yield
        self.view.state_changed.connect(self._offer)
        self.view.failed.connect(self.view.show_error)
        self.view.files.export_asked.connect(self._ask_export)
        self.empty = EmptyState(
            "run",
            "No run yet",
            "Set up a run and start it; it is shown here while it trains.",
            "New run",
            lambda: self.navigate.emit("new_run", None),
        )
        self.pages.insertWidget(0, self.empty)
        self.pages.setCurrentIndex(0)
        self._offer("draft")

    def enter(self, argument: Any = None) -> None:
        if isinstance(argument, str) and argument != self.run_id:
            self.open_run(argument)
        elif self.run_id:
            self.view.follower.start()
        else:
            run_task(self, self.backend.newest_run, done=self._open_newest)

    def leave(self) -> None:
        self.view.follower.stop()

    def open_run(self, run_id: str) -> None:
        """Show this run."""
        self.run_id = run_id
        folder = self.backend.run_folder(run_id)
        run_task(self, load_details, folder, done=self._show, failed=self._show_problem)

    def _lay_out(self) -> None:
        """What is put into it later need not be styled twice."""
        self.pause = button(
            "&Pause", lambda: self._send("pause"), icon="pause", help="Save, free the memory, keep the place"
        )
        self.save = button(
            "Save &now", lambda: self._send("save"), icon="save", help="Write a checkpoint at the next step"
        )
        self.stop = button("&Stop", lambda: self._send("stop"), icon="stop", help="Save and end the run")
        self.resume = button(
            "&Resume", self._resume, icon="resume", role="primary", help="Continue from the last checkpoint"
        )
        self.repeat = button("Repeat…", self._repeat, icon="refresh", help="A new run with the same settings")
        self.controls = boxed(row(self.repeat, None, self.save, self.pause, self.stop, self.resume))
        run = boxed(column(self.view, self.controls, margin=2 * GRID))
        failed = boxed(column(self.problem, None, margin=2 * GRID))
        self.pages = QStackedWidget()
        self.pages.addWidget(run)
        self.pages.addWidget(failed)
        self.setLayout(column(self.pages))

    def _open_newest(self, run_id: str | None) -> None:
        if run_id is None:
            self.pages.setCurrentIndex(0)
        elif not self.run_id:
            self.open_run(run_id)

    def _show(self, details: RunDetails) -> None:
        if details.folder.id != self.run_id:  # another run was asked for meanwhile
            return
        self._offer("draft")
        self.view.open(details)
        QTimer.singleShot(
            0, self, lambda: self._turn_to(details.folder.id)
        )  # laying it out takes as long as filling it
        if details.problem:
            self.noted.emit(details.problem)

    def _turn_to(self, run_id: str) -> None:
        """Bring the run's page into view, if it is still the one asked for."""
        if run_id == self.run_id:
            self.pages.setCurrentIndex(1)

    def _show_problem(self, error: StudioError) -> None:
        self.run_id = ""
        self.problem.show_error(error)
        self.pages.setCurrentIndex(2)

    def _offer(self, state: str) -> None:
        """Show the buttons that make sense now."""
        can = controls(state)
        self.pause.setVisible(can.pause)
        self.save.setVisible(can.save)
        self.stop.setVisible(can.stop)
        self.resume.setVisible(can.resume)

    def _send(self, wish: str) -> None:
        send = {"pause": self.backend.pause_run, "save": self.backend.save_run, "stop": self.backend.stop_run}[wish]
        noted = {
            "pause": "The run pauses after this step",
            "save": "A checkpoint is written after this step",
            "stop": "The run saves and stops after this step",
        }[wish]
        run_task(self, send, self.run_id, done=lambda _: self.noted.emit(noted), failed=self.view.show_error)

    def _resume(self) -> None:
        self.resume.setEnabled(False)
        run_task(self, self.backend.resume_run, self.run_id, done=self._resumed, failed=self._not_resumed)

    def _resumed(self, _: object) -> None:
        self.resume.setEnabled(True)
        self.view.error.hide()
        self.view.follower.start()

    def _not_resumed(self, error: StudioError) -> None:
        self.resume.setEnabled(True)
        self.view.show_error(error)

    def _repeat(self) -> None:
        run_task(
            self, self.backend.run_spec, self.run_id, done=lambda spec: self.navigate.emit("new_run", {"spec": spec})
        )

    def _ask_export(self, form: str) -> None:
        choose_folder(self, "Where to put the exported folder", lambda place: self.export(form, Path(place)))

    def export(self, form: str, place: Path) -> None:
        """Write the run's result into a new folder of ``place``, named after the run."""
        out = place / f"{self.run_id}-{form}"
        self.noted.emit(f"Exporting to {out}…")
        run_task(
            self, self.backend.export_run, self.run_id, form, out,
            done=self.noted.emit, failed=self.view.show_error,
        )  # fmt: skip
