"""The New run screen: pickers above, the form below, Pre-flight beside it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QSplitter, QVBoxLayout

from studio.api import Site
from studio.core.errors import Cancelled, InvalidSpecError, StudioError
from studio.core.problems import Problem
from studio.gui import settings
from studio.gui.backend import Check
from studio.gui.screens.base import Screen
from studio.gui.screens.new_run.checker import Checker
from studio.gui.screens.new_run.data_form import DataForm
from studio.gui.screens.new_run.device_fits import DeviceFitsDialog
from studio.gui.screens.new_run.draft import Draft, empty_spec, suggest_name
from studio.gui.screens.new_run.form import RunForm
from studio.gui.screens.new_run.libraries import Libraries
from studio.gui.screens.new_run.method_form import MethodForm
from studio.gui.screens.new_run.preflight import Preflight
from studio.gui.screens.new_run.spec_files import SpecFiles
from studio.gui.screens.new_run.train_form import TrainForm
from studio.gui.tasks import run_in_steps, run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import icon_button
from studio.gui.widgets.layout import ScrollColumn, boxed, column, order_tabs, row
from studio.gui.widgets.notices import ErrorCard
from studio.gui.widgets.text import title

if TYPE_CHECKING:
    from studio.service.settings import Settings

SMALL_ROWS = 1000  # below this the usual 200 held-out rows would leave too few to train on


class NewRunScreen(Screen):
    """One draft, edited by pickers and form, checked after every change."""

    id = "new_run"

    def assemble(self) -> Iterator[None]:
        self.draft = Draft(self.backend.load_draft(), self)
        self.files = SpecFiles(self.draft, self.backend, self)
        self.checker = Checker(self.draft, self.backend, self)
        self.error = ErrorCard()
        self._sites_of, self._entered = "", False
        left, splitter = self._lay_out()  # what is put into it later need not be styled twice
        yield
        self.libraries = Libraries(self.backend, self)
        yield
        left.insertLayout(0, self._head())
        yield
        data = DataForm(self.draft, self.backend.formats())
        yield
        method = MethodForm(self.draft, self.libraries.method_info, self.backend.select_sites)
        yield
        train = TrainForm(self.draft)
        yield
        self.form = RunForm(self.draft, data, method, train)
        yield
        self.form_area.body.addWidget(self.form)
        yield
        self.preflight = Preflight(self._name_of)
        yield
        splitter.addWidget(self.preflight)
        settings.remember_splitter(splitter, "new_run")
        yield
        self._connect()
        self.form.show_draft()
        run_task(self, self.backend.devices, done=self.form.train.offer_devices)
        run_task(self, self.backend.load_settings, done=self._apply_settings)

    def enter(self, argument: Any = None) -> None:
        """``{"file": PATH}`` opens a spec, ``{"spec": SPEC}`` replaces the form, else its keys are merged in."""
        if isinstance(argument, dict) and "file" in argument:
            self.files.read(argument["file"])
        elif isinstance(argument, dict) and "spec" in argument:
            self.draft.replace(argument["spec"], "use another spec")
        elif isinstance(argument, dict):
            self.draft.patch(argument, "choose")
        self.libraries.load()
        if not self._entered:  # from then on the keyboard comes back to where it was
            self._entered = True
            self.libraries.model.card.setFocus()

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

    def compare_devices(self) -> None:
        """Show which devices could run the draft, once it can be planned."""
        if not self.preflight.forecast.isVisible():
            return
        DeviceFitsDialog(self.backend, self.draft.copy(), self).open()

    def probe(self) -> None:
        """Run a few real steps of the draft, once it can be planned; what they took goes into the forecast."""
        evidence = self.preflight.evidence
        if not (evidence.isVisible() and evidence.probe_button.isEnabled()):
            return
        task = run_task(
            self, self.backend.probe, self.draft.copy(),
            done=self._probed, failed=self.preflight.end_probe, progress=evidence.progress.report,
        )  # fmt: skip
        evidence.start_probe(task)

    def _probed(self, _nothing: None) -> None:
        self.preflight.end_probe()
        self.checker.refine_now()

    def _lay_out(self) -> tuple[QVBoxLayout, QSplitter]:
        self.form_area = ScrollColumn()
        body = column(self.form_area, spacing=0)
        body.setStretch(0, 1)
        self._left = boxed(body)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.addWidget(self._left)
        splitter.setChildrenCollapsible(False)
        splitter.setStretchFactor(0, 1)
        self.setLayout(column(splitter))
        return body, splitter

    def _head(self) -> QVBoxLayout:
        libraries = self.libraries
        pickers = row(libraries.model, libraries.data, libraries.method, spacing=2 * GRID)
        for index in range(3):
            pickers.setStretch(index, 1)
        self.undo_button = icon_button("undo", "Undo the last change", self.undo)
        self.redo_button = icon_button("redo", "Redo", self.redo)
        self.undo_button.setEnabled(False)
        self.redo_button.setEnabled(False)
        heading = row(
            title("New run"), None, self.undo_button, self.redo_button,
            icon_button("trash", "Clear the form", self.clear),
            icon_button("folder", "Open a spec file", self.import_spec),
            icon_button("save", "Save as a spec file", self.export_spec),
        )  # fmt: skip
        top = column(heading, pickers, libraries.progress, self.error, spacing=2 * GRID)
        top.setContentsMargins(2 * GRID, 2 * GRID, 2 * GRID, GRID)
        return top

    def _connect(self) -> None:
        libraries, form = self.libraries, self.form
        form.edited.connect(self.draft.set)
        form.add_method.connect(lambda: libraries.second_method.open(form.method.add))
        libraries.second_method.picked.connect(self._add_method)
        form.remove_method.connect(self._remove_method)
        libraries.model.picked.connect(lambda key: self._choose({"model.source": key}, "choose the model"))
        libraries.data.picked.connect(self._choose_data)
        libraries.method.picked.connect(self._choose_method)
        libraries.methods_changed.connect(form.method.forget)
        libraries.loaded.connect(self._show_libraries)
        libraries.added.connect(lambda kind, source: self._choose({f"{kind}.source": source}, f"choose the {kind}"))
        libraries.failed.connect(self._show_error)
        self.files.failed.connect(self._show_error)
        self.files.noted.connect(self.noted)
        self.draft.changed.connect(lambda _path: self._hide_errors())
        self.draft.replaced.connect(self._show_draft)
        self.draft.history.canUndoChanged.connect(self.undo_button.setEnabled)
        self.draft.history.canRedoChanged.connect(self.redo_button.setEnabled)
        self.checker.checked.connect(self._show_check)
        self.checker.checking.connect(lambda task: self.preflight.busy.start("Checking…", task))
        self.checker.failed.connect(self._show_error)
        self.checker.refining.connect(self.preflight.basis.show_waiting)
        self.preflight.advice.advised.connect(lambda patch: self.draft.patch(patch, "take the advice"))
        self.preflight.compare_devices.connect(self.compare_devices)
        self.preflight.evidence.probe.connect(self.probe)
        self.preflight.show_problem.connect(self._reveal)
        self.preflight.start.connect(self.start)

    def _apply_settings(self, found: "Settings") -> None:
        self.preflight.set_currency(found.currency)
        if found.device != "auto" and self.draft.get("train.device") is None:
            self.draft.patch({"train.device": found.device}, "use the device of the settings")

    def _show_libraries(self) -> None:
        run_in_steps(self, self._take_libraries())

    def _take_libraries(self) -> Iterator[None]:
        """Show what is chosen among them, then what there is to say of it; either takes the time of a frame or two."""
        self._fill_gaps()
        self._show_draft()
        yield
        self.checker.check_now()

    def _fill_gaps(self) -> None:
        """A form without model or data begins with ones that go together, so that there is something to see."""
        libraries = self.libraries
        if not self.draft.get("model.source") and libraries.models:
            model = next((facts for facts in libraries.models if facts.kind == "decoder"), libraries.models[0])
            self._choose({"model.source": f"library:{model.name}"}, "choose the model")
        if not self.draft.get("data.source") and libraries.datasets:
            data = next((facts for facts in libraries.datasets if facts.format != "classification"), None)
            self._choose_data(f"library:{(data or libraries.datasets[0]).name}")

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

    def _choose(self, patch: dict[str, Any], words: str) -> None:
        """Patch the draft; a name that nobody has written follows the choice."""
        unnamed = self.draft.get("name") in ("", "run", suggest_name(self.draft))
        changed = Draft(self.draft.raw)
        changed.patch(patch)
        name = {"name": suggest_name(changed)} if unnamed else {}
        self.draft.patch(patch | name, words)

    def _choose_data(self, source: str) -> None:
        """Another dataset has other columns and rows: what was written for the last one goes."""
        written = self.draft.part("data")
        data = {key: value for key, value in written.items() if key not in ("columns", "format", "split")}
        facts = self.libraries.data_facts(source)
        task = "classification" if facts and facts.format == "classification" else "sft"
        if facts and facts.rows <= SMALL_ROWS:
            data["split"] = {"eval": facts.rows // 5}
        self._choose({"data": data | {"source": source}, "task": task}, "choose the data")

    def _choose_method(self, method_id: str) -> None:
        placements = self.draft.placements()
        placements[:1] = [{"use": method_id}]
        self._choose({"method.placements": placements}, "choose the method")

    def _add_method(self, method_id: str) -> None:
        placements = [*self.draft.placements(), {"use": method_id}]
        self.draft.patch({"method.placements": placements}, "add a method")
        self.libraries.second_method.set_key("")

    def _remove_method(self, index: int) -> None:
        placements = self.draft.placements()
        del placements[index]
        self.draft.patch({"method.placements": placements}, "remove a method")

    def _show_check(self, check: Check) -> None:
        self.preflight.busy.stop()
        self.preflight.show_check(check)
        self.form.show_plan(check.plan)
        self._show_problems(check.problems)
        # cards and advice come and go; finding the order takes as long as showing them
        QTimer.singleShot(0, self, lambda: order_tabs(self._left, self.preflight))

    def _show_problems(self, problems: tuple[Problem, ...]) -> None:
        self.form.show_problems(problems)
        for picker, path in (
            (self.libraries.model, "model"), (self.libraries.data, "data.source"),
            (self.libraries.method, "method.placements.0.use"),
        ):  # fmt: skip
            about = (problem for problem in problems if problem.where == path or problem.where.startswith(f"{path}."))
            picker.set_problem(next(about, None))

    def _name_of(self, path: str) -> str:
        """What the place of a problem is called in this window."""
        pickers = {"model": "Model", "data.source": "Data", "method.placements.0.use": "Method"}
        named = next((name for start, name in pickers.items() if path.startswith(start)), "")
        return named or self.form.name_of(path)

    def _reveal(self, path: str) -> None:
        pickers = {"model": self.libraries.model, "data.source": self.libraries.data}
        for start, picker in pickers.items():
            if path.startswith(start):
                picker.card.setFocus()
                return
        self.form.reveal(path, self.form_area)

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

    def _hide_errors(self) -> None:
        """They were about the draft before its last change."""
        self.error.hide()
        self.preflight.evidence.error.hide()

    def _show_error(self, error: StudioError) -> None:
        self.preflight.busy.stop()
        if not isinstance(error, Cancelled):
            self.error.show_error(error)
