"""The three pickers and what stands behind them: lists of models, data and methods, and additions to them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from studio.core.errors import Cancelled, StudioError
from studio.core.facts import DataFacts, ModelFacts
from studio.gui.backend import Backend
from studio.gui.screens.data.files import DATA_FILES
from studio.gui.screens.new_run.choices import data_choice, method_choice, model_choice
from studio.gui.tasks import run_task
from studio.gui.widgets.notices import Progress
from studio.gui.widgets.picker import Picker
from studio.gui.widgets.questions import choose_file, choose_folder

if TYPE_CHECKING:
    from studio.service.methods import MethodInfo


class Libraries(QObject):
    """Signals: ``loaded()`` when all three lists are there, ``methods_changed()`` before it;

    ``added(kind, source)``; ``failed(StudioError)``.
    """

    loaded = Signal()
    methods_changed = Signal()
    added = Signal(str, str)
    failed = Signal(object)

    def __init__(self, backend: Backend, window: QWidget) -> None:
        super().__init__(window)
        self._backend, self._window = backend, window
        self.models: list[ModelFacts] = []
        self.datasets: list[DataFacts] = []
        self.methods: list[MethodInfo] = []
        self._waiting: set[str] = set()
        self.model = Picker("Model", "models", [("Add a folder…", self._ask_model_folder),
                                                ("Add a GGUF file…", self._ask_model_file)])  # fmt: skip
        self.data = Picker("Data", "data", [("Add a file…", self._ask_data_file),
                                            ("Add a folder…", self._ask_data_folder)])  # fmt: skip
        self.method = Picker("Method", "methods")
        self.second_method = Picker("Another method", "methods", parent=window)
        self.second_method.hide()
        self.model.setAcceptDrops(True)
        self.data.setAcceptDrops(True)
        self.model.dropped.connect(self.add_model)
        self.data.dropped.connect(self.add_data)
        self.progress = Progress()

    def load(self) -> None:
        """Fetch the lists anew."""
        self._waiting = {"models", "datasets", "methods"}
        for picker in (self.model, self.data, self.method):
            picker.set_loading()
        for name, function in (
            ("models", self._backend.models), ("datasets", self._backend.datasets), ("methods", self._backend.methods),
        ):  # fmt: skip
            run_task(self, function, done=partial(self._arrive, name), failed=self.failed.emit)

    def method_info(self, method_id: str) -> "MethodInfo | None":
        return next((info for info in self.methods if info.id == method_id), None)

    def data_facts(self, source: str) -> DataFacts | None:
        return next((facts for facts in self.datasets if f"library:{facts.name}" == source), None)

    def add_model(self, path: str) -> None:
        self._add("model", "Adding the model…", self._backend.add_model, path)

    def add_data(self, path: str) -> None:
        self._add("data", "Reading the dataset…", self._backend.add_dataset, path)

    def _arrive(self, name: str, found: list[Any]) -> None:
        changed = getattr(self, name) != found
        setattr(self, name, found)
        if changed and name == "methods":
            self.methods_changed.emit()
        picker, make = {
            "models": (self.model, model_choice),
            "datasets": (self.data, data_choice),
            "methods": (self.method, method_choice),
        }[name]
        choices = [make(item) for item in found]  # type: ignore[operator]
        picker.set_choices(choices)
        if name == "methods":
            self.second_method.set_choices(choices)
        self._waiting.discard(name)
        if not self._waiting:
            self.loaded.emit()

    def _add(self, kind: str, phase: str, function: Callable[..., Any], path: str) -> None:
        def finish(facts: ModelFacts | DataFacts) -> None:
            self.progress.stop()
            self.added.emit(kind, f"library:{facts.name}")
            self.load()

        def fail(error: StudioError) -> None:
            self.progress.stop()
            if not isinstance(error, Cancelled):
                self.failed.emit(error)

        task = run_task(self, function, Path(path), done=finish, failed=fail, progress=self.progress.report)
        self.progress.start(phase, task)

    def _ask_model_folder(self) -> None:
        choose_folder(self._window, "Add a model folder", self.add_model)

    def _ask_model_file(self) -> None:
        choose_file(self._window, "Add a model file", "GGUF models (*.gguf)", self.add_model)

    def _ask_data_file(self) -> None:
        choose_file(self._window, "Add a dataset", DATA_FILES, self.add_data)

    def _ask_data_folder(self) -> None:
        choose_folder(self._window, "Add a dataset folder", self.add_data)
