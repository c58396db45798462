"""The New run screen: pickers above, the form below, Pre-flight beside it."""

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QWidget

from studio.api import Site
from studio.core.errors import InvalidSpecError, StudioError
from studio.core.problems import Problem
from studio.gui import settings
from studio.gui.backend import Backend, Check
from studio.gui.screens.base import Screen
from studio.gui.screens.new_run.checker import Checker
from studio.gui.screens.new_run.draft import Draft, empty_spec
from studio.gui.screens.new_run.form import RunForm
from studio.gui.screens.new_run.libraries import Libraries
from studio.gui.screens.new_run.preflight import Preflight
from studio.gui.screens.new_run.spec_files import SpecFiles
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import icon_button
from studio.gui.widgets.layout import ScrollColumn, boxed, column, row
from studio.gui.widgets.notices import ErrorCard
from studio.gui.widgets.text import title


class NewRunScreen(Screen):
    """One draft, edited by pickers and form, checked after every change."""

    id = "new_run"

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(backend, parent)
        self.draft = Draft(backend.load_draft(), self)
        self.libraries = Libraries(backend, self)
        self.files = SpecFiles(self.draft, backend, self)
        self.checker = Checker(self.draft, backend, self)
        self.form = RunForm(self.draft, backend.formats(), self.libraries.method_info)
        self.preflight = Preflight()
        self.error = ErrorCard()
        self._sites_of = ""
        self._lay_out()
        self._connect()
        self.form.show_draft()
        self.libraries.load()
        run_task(self, backend.load_settings, done=lambda found: self.preflight.set_currency(found.currency))

    def enter(self, argument: Any = None) -> None:
        """``{"file": PATH}`` opens a spec, ``{"spec": SPEC}`` replaces the form, else its keys are merged in."""
        if isinstance(argument, dict) and "file" in argument:
            self.files.read(argument["file"])
        elif isinstance(argument, dict) and "spec" in argument:
            self.draft.replace(argument["spec"], "use another spec")
        elif isinstance(argument, dict):
            self.draft.patch(argument, "choose")
        self.libraries.load()

    def leave(self) -> None:
        self.files.keep()

    def import_spec(self) -> None:
        self.files.ask_import()

    def export_spec(self) -> None:
        self.files.ask_export()

    def undo(self) -> None:
        self.draft.history.undo()

    def redo(self) -> None:
        self.draft.history.redo()

    def clear(self) -> None:
        """Begin again; Undo brings the old form back."""
        self.draft.replace(empty_spec(), "clear the form")
        self._fill_gaps()

    def start(self) -> None:
        """Start the run that the form describes, if Pre-flight agrees."""
        if not self.preflight.start_button.isEnabled():
            return
        self.preflight.start_button.setEnabled(False)
        self.error.hide()
        task = run_task(self, self.backend.start_run, self.draft.copy(), done=self._started, failed=self._not_started)
        self.preflight.busy.start("Starting the run…", task)

    def _lay_out(self) -> None:
        libraries = self.libraries
        pickers = row(libraries.model, libraries.data, libraries.method, spacing=2 * GRID)
        for index in range(3):
            pickers.setStretch(index, 1)
        self.undo_button = icon_button("undo", "Undo the last change", self.undo)
        self.redo_button = icon_button("redo", "Redo", self.redo)
        heading = row(
            title("New run"), None, self.undo_button, self.redo_button,
            icon_button("close", "Clear the form", self.clear),
            icon_button("folder", "Open a spec file", self.import_spec),
            icon_button("save", "Save as a spec file", self.export_spec),
        )  # fmt: skip
        top = column(heading, pickers, libraries.progress, self.error, spacing=2 * GRID)
        top.setContentsMargins(2 * GRID, 2 * GRID, 2 * GRID, 0)
        self.scroll = ScrollColumn()
        self.scroll.body.addWidget(self.form)
        left = boxed(column(top, self.scroll, spacing=0))
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.addWidget(left)
        splitter.addWidget(self.preflight)
        splitter.setChildrenCollapsible(False)
        splitter.setStretchFactor(0, 1)
        settings.remember_splitter(splitter, "new_run")
        self.setLayout(column(splitter))

    def _connect(self) -> None:
        libraries, form = self.libraries, self.form
        form.edited.connect(self.draft.set)
        form.add_method.connect(lambda: libraries.second_method.open(form.method.add))
        libraries.second_method.picked.connect(self._add_method)
        form.remove_method.connect(self._remove_method)
        libraries.model.picked.connect(lambda key: self.draft.patch({"model.source": key}, "choose the model"))
        libraries.data.picked.connect(self._choose_data)
        libraries.method.picked.connect(self._choose_method)
        libraries.loaded.connect(self._show_libraries)
        libraries.added.connect(lambda kind, source: self.draft.patch({f"{kind}.source": source}, f"choose the {kind}"))
        libraries.failed.connect(self._show_error)
        self.files.failed.connect(self._show_error)
        self.files.noted.connect(self.noted)
        self.draft.replaced.connect(self._show_draft)
        self.draft.history.indexChanged.connect(lambda _index: self._show_history())
        self.checker.checked.connect(self._show_check)
        self.checker.checking.connect(lambda task: self.preflight.busy.start("Checking…", task))
        self.checker.failed.connect(self._show_error)
        self.preflight.advised.connect(lambda patch: self.draft.patch(patch, "take the advice"))
        self.preflight.show_problem.connect(self._reveal)
        self.preflight.start.connect(self.start)
        self._show_history()

    def _show_libraries(self) -> None:
        self.form.method.forget()
        self._fill_gaps()
        self._show_draft()
        self.checker.check_now()

    def _fill_gaps(self) -> None:
        """A form without model or data begins with the first of each, so that there is something to see."""
        for path, found in (("model.source", self.libraries.models), ("data.source", self.libraries.datasets)):
            if not self.draft.get(path) and found:
                self.draft.patch({path: f"library:{found[0].name}"}, "choose")

    def _show_draft(self) -> None:
        model = str(self.draft.get("model.source", ""))
        self.libraries.model.set_key(model)
        self.libraries.data.set_key(str(self.draft.get("data.source", "")))
        self.libraries.method.set_key(str(self.draft.get("method.placements.0.use", "")))
        self.form.data.set_facts(self.libraries.data_facts(self.libraries.data.key))
        self.form.show_draft()
        if model and model != self._sites_of:
            self._sites_of = model
            run_task(self, self.backend.sites, model, done=self._show_sites, failed=lambda _error: self._show_sites(()))

    def _show_sites(self, sites: tuple[Site, ...]) -> None:
        self.form.method.set_sites(sites)

    def _show_history(self) -> None:
        self.undo_button.setEnabled(self.draft.history.canUndo())
        self.redo_button.setEnabled(self.draft.history.canRedo())

    def _choose_data(self, source: str) -> None:
        """Another dataset has other columns: what was written for the last one goes."""
        data = {key: value for key, value in self.draft.get("data", {}).items() if key not in ("columns", "format")}
        facts = self.libraries.data_facts(source)
        task = "classification" if facts and facts.format == "classification" else "sft"
        self.draft.patch({"data": data | {"source": source}, "task": task}, "choose the data")

    def _choose_method(self, method_id: str) -> None:
        placements = list(self.draft.get("method.placements", []))
        placements[:1] = [{"use": method_id}]
        self.draft.patch({"method.placements": placements}, "choose the method")

    def _add_method(self, method_id: str) -> None:
        placements = [*self.draft.get("method.placements", []), {"use": method_id}]
        self.draft.patch({"method.placements": placements}, "add a method")
        self.libraries.second_method.set_key("")

    def _remove_method(self, index: int) -> None:
        placements = list(self.draft.get("method.placements", []))
        del placements[index]
        self.draft.patch({"method.placements": placements}, "remove a method")

    def _show_check(self, check: Check) -> None:
        self.preflight.busy.stop()
        self.preflight.show_check(check)
        self.form.show_plan(check.plan)
        self._show_problems(check.problems)

    def _show_problems(self, problems: tuple[Problem, ...]) -> None:
        self.form.show_problems(problems)
        for picker, path in (
            (self.libraries.model, "model"), (self.libraries.data, "data.source"),
            (self.libraries.method, "method.placements.0.use"),
        ):  # fmt: skip
            about = (problem for problem in problems if problem.where == path or problem.where.startswith(f"{path}."))
            picker.set_problem(next(about, None))

    def _reveal(self, path: str) -> None:
        pickers = {"model": self.libraries.model, "data.source": self.libraries.data}
        for start, picker in pickers.items():
            if path.startswith(start):
                picker.card.setFocus()
                return
        self.form.reveal(path, self.scroll)

    def _started(self, run_id: str) -> None:
        self.preflight.busy.stop()
        self.preflight.start_button.setEnabled(True)
        self.navigate.emit("run", run_id)

    def _not_started(self, error: StudioError) -> None:
        self.preflight.busy.stop()
        self.preflight.start_button.setEnabled(True)
        if isinstance(error, InvalidSpecError):
            self._show_check(Check(error.problems))
        else:
            self._show_error(error)

    def _show_error(self, error: StudioError) -> None:
        self.preflight.busy.stop()
        self.error.show_error(error)
