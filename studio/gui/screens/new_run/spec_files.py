"""Reading and writing the form as a spec file, and keeping it between starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from studio.core.errors import StudioError
from studio.gui.backend import Backend
from studio.gui.screens.new_run.draft import Draft
from studio.gui.tasks import Debounce, run_task
from studio.gui.widgets.questions import choose_file

SPEC_FILTER = "Spec files (*.yaml *.yml *.json)"


class SpecFiles(QObject):
    """Signals: ``noted(text)``, ``failed(StudioError)``."""

    noted = Signal(str)
    failed = Signal(object)

    def __init__(self, draft: Draft, backend: Backend, window: QWidget) -> None:
        super().__init__(window)
        self._draft, self._backend, self._window = draft, backend, window
        self._autosave = Debounce(self, 500, self.keep)
        draft.changed.connect(lambda _path: self._autosave.request())

    def keep(self) -> None:
        """Save the draft for the next start."""
        self._autosave.cancel()
        run_task(self, self._backend.save_draft, self._draft.copy(), failed=self.failed.emit)

    def ask_import(self) -> None:
        choose_file(self._window, "Open a spec", SPEC_FILTER, self.read)

    def ask_export(self) -> None:
        choose_file(self._window, "Save the spec as", SPEC_FILTER, self.write, save=True,
                    start=f"{self._draft.get('name', 'run')}.yaml")  # fmt: skip

    def read(self, path: str) -> None:
        def show(raw: Mapping[str, Any]) -> None:
            self._draft.replace(raw, "open a spec")
            self.noted.emit(f"Opened {Path(path).name}")

        run_task(self, self._backend.read_spec, Path(path), done=show, failed=self.failed.emit)

    def write(self, path: str) -> None:
        target = Path(path) if Path(path).suffix else Path(path).with_suffix(".yaml")

        def tell(_none: None) -> None:
            self.noted.emit(f"Saved {target.name}")

        run_task(self, self._backend.write_spec, self._draft.copy(), target, done=tell, failed=self._fail)

    def _fail(self, error: StudioError) -> None:
        self.failed.emit(error)
