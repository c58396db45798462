"""What the run leaves behind: artifacts and checkpoints, their folder, and the ways to take the result away."""

from dataclasses import dataclass

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QWidget

from studio.core.state import RunSnapshot
from studio.core.units import format_bytes
from studio.gui.models.records import Column, RecordTable
from studio.gui.models.view import set_widths, table_view
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.notices import EmptyState
from studio.gui.widgets.text import ElidedLabel
from studio.rundir.layout import RunFolder


@dataclass(frozen=True)
class RunFile:
    """One thing in the run folder; ``path`` is relative to it."""

    name: str
    path: str
    bytes_: int
    note: str = ""


COLUMNS: tuple[Column[RunFile], ...] = (
    Column("What", lambda file: file.name),
    Column("Size", lambda file: format_bytes(file.bytes_), sort=lambda file: file.bytes_, numeric=True),
    Column("", lambda file: file.note),
    Column("Where", lambda file: file.path),
)


class FilesView(QWidget):
    """The files table with its folder. Signal: ``export_asked(str)``, "merged" or "peft"."""

    export_asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder: RunFolder | None = None
        self.model = RecordTable(COLUMNS, self)
        self._table = table_view("Artifacts and checkpoints", self.model)
        set_widths(self._table, 24, 12, 12)
        self._empty = EmptyState("folder", "Nothing saved yet", "The adapter and the checkpoints appear here.")
        self._place = ElidedLabel("", role="muted")
        open_folder = button("Open folder", self._open_folder, icon="folder", help="Show the run's files")
        self.merged = button(
            "Export merged model…", lambda: self.export_asked.emit("merged"), icon="download",
            help="The whole model with the result in its weights; loads anywhere",
        )  # fmt: skip
        self.peft = button(
            "Export for peft…", lambda: self.export_asked.emit("peft"), icon="download",
            help="The adapter as peft loads it, where peft has a format for the method",
        )  # fmt: skip
        place = row(self._place, self.merged, self.peft, open_folder)
        place.setStretch(0, 1)
        layout = column(place, self._empty, self._table)
        layout.setContentsMargins(0, GRID, 0, 0)
        self.setLayout(layout)

    def open(self, folder: RunFolder) -> None:
        self._folder = folder
        self._offer(False)
        self._place.setText(str(folder.path))

    def apply(self, snapshot: RunSnapshot) -> None:
        """Take in what has been written so far."""
        files = run_files(snapshot)
        self.model.set_records(files)
        self._table.setVisible(bool(files))
        self._empty.setVisible(not files)
        self._offer("adapter" in snapshot.artifacts)

    def _offer(self, there_is_an_adapter: bool) -> None:
        for each in (self.merged, self.peft):
            each.setEnabled(there_is_an_adapter)

    def _open_folder(self) -> None:
        if self._folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder.path)))


def run_files(snapshot: RunSnapshot) -> list[RunFile]:
    """Artifacts first, then the checkpoints from the newest on."""
    artifacts = [RunFile(made.name, made.path, made.bytes_) for made in snapshot.artifacts.values()]
    checkpoints = [
        RunFile(f"checkpoint {step:,}", saved.path, saved.bytes_, "best eval" if saved.best else "")
        for step, saved in sorted(snapshot.checkpoints.items(), reverse=True)
    ]
    return artifacts + checkpoints
