"""What the run said: its notices, and the end of the worker's output files."""

from datetime import datetime
from pathlib import Path

from PySide6.QtWidgets import QButtonGroup, QPlainTextEdit, QWidget

from studio.core.events import Noticed
from studio.core.state import RunSnapshot
from studio.gui.fonts import mono_font
from studio.gui.screens.live.tail import read_text_end
from studio.gui.tasks import run_task
from studio.gui.theme import GRID, theme
from studio.gui.widgets.buttons import chip
from studio.gui.widgets.layout import column, row
from studio.rundir.layout import RunFolder

SOURCES = {"notices": "Notices", "stdout": "Output", "stderr": "Errors"}


class LogView(QWidget):
    """One text at a time; files are read again only while this view is on screen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder: RunFolder | None = None
        self._notices: list[Noticed] = []
        self._source = "notices"
        self._reading = False
        self._sizes: dict[str, int] = {}
        self.text = QPlainTextEdit(readOnly=True)
        self.text.setAccessibleName("Log of the run")
        self.text.setMaximumBlockCount(5000)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setPlaceholderText("Nothing yet.")
        self._group = QButtonGroup(self)
        chips = row(None)
        for place, (source, word) in enumerate(SOURCES.items()):
            made = chip(word, name=f"Show {word.lower()}", checked=source == self._source)
            made.clicked.connect(lambda *_, source=source: self.choose(source))
            self._group.addButton(made)
            chips.insertWidget(place, made)
        layout = column(chips, self.text)
        layout.setContentsMargins(0, GRID, 0, 0)
        self.setLayout(layout)
        self._dress()
        theme().watch(self, LogView._dress)

    def open(self, folder: RunFolder) -> None:
        """Show another run's log."""
        self._folder, self._notices = folder, []
        self._sizes.clear()
        self.text.clear()

    def choose(self, source: str) -> None:
        """Notices, stdout or stderr."""
        self._source = source
        self._sizes.clear()
        self.text.clear()
        self._show_notices() if source == "notices" else self.refresh()

    def apply(self, snapshot: RunSnapshot) -> None:
        """Take in the notices so far."""
        if len(snapshot.notices) != len(self._notices):
            self._notices = list(snapshot.notices)
            if self._source == "notices":
                self._show_notices()

    def refresh(self) -> None:
        """Read the chosen file again if it grew; called while the view is on screen."""
        if self._folder is None or self._reading or self._source == "notices":
            return
        path = self._folder.stdout if self._source == "stdout" else self._folder.stderr
        self._reading = True
        run_task(self, _read_if_grown, path, self._sizes.get(str(path), -1), done=self._show_file)

    def _show_file(self, found: tuple[Path, int, str] | None) -> None:
        self._reading = False
        if found is None or self._folder is None or found[0] not in (self._folder.stdout, self._folder.stderr):
            return
        self._sizes[str(found[0])] = found[1]
        self._replace(found[2])

    def _show_notices(self) -> None:
        self._replace("\n".join(_line(notice) for notice in self._notices))

    def _replace(self, text: str) -> None:
        bar = self.text.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        kept = bar.value()
        self.text.setPlainText(text)
        bar.setValue(bar.maximum() if at_end else kept)

    def _dress(self) -> None:
        self.text.setFont(mono_font())


def _read_if_grown(path: Path, known_size: int) -> tuple[Path, int, str] | None:
    size = path.stat().st_size if path.exists() else 0
    return None if size == known_size else (path, size, read_text_end(path))


def _line(notice: Noticed) -> str:
    at = datetime.fromtimestamp(notice.time).astimezone().strftime("%H:%M:%S")
    return f"{at}  {notice.level}  {notice.message}"
