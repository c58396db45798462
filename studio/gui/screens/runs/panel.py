"""The panel beside the runs table: one run's figures and what a person says about it."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFormLayout, QFrame, QLineEdit, QPlainTextEdit, QWidget

from studio.catalog.rows import RunRow
from studio.core.units import format_bytes, format_watt_hours
from studio.gui.screens.runs.columns import created_text, duration_text, eval_text, steps_text
from studio.gui.tasks import Debounce
from studio.gui.theme import GRID
from studio.gui.widgets.layout import ScrollColumn, column
from studio.gui.widgets.signs import Sign
from studio.gui.widgets.text import ElidedLabel, Label, muted

NOTE_WAIT_MS = 800


class RunPanel(QFrame):
    """Shows one run. Signals: ``noted(id, text)``, ``renamed(id, name)``, ``tagged(id, before, after)``."""

    noted = Signal(str, str)
    renamed = Signal(str, str)
    tagged = Signal(str, object, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "panel")
        self._row: RunRow | None = None
        self.name = QLineEdit()
        self.name.setMaxLength(120)
        self.name.editingFinished.connect(self._rename)
        self.state = Sign()
        self.tags = QLineEdit()
        self.tags.setPlaceholderText("separated by commas")
        self.tags.editingFinished.connect(self._tag)
        self.notes = QPlainTextEdit()
        self.notes.setPlaceholderText("What did you try, what did you learn?")
        self.notes.setTabChangesFocus(True)
        self.notes.setMinimumHeight(12 * GRID)
        self._note_later = Debounce(self, NOTE_WAIT_MS, self.save_notes)
        self.notes.textChanged.connect(self._note_later.request)
        self.error = Label("", role="error", wrap=True)
        self._figures = {name: ElidedLabel("", role="number") for name in FIGURES}
        self._build()

    @property
    def run_id(self) -> str:
        return self._row.id if self._row else ""

    def show_run(self, row: RunRow) -> None:
        """Another run, or the same with news; what is being typed is left alone."""
        if row.id != self.run_id:
            self.save_notes()
            self._row = None
            self.name.setText(row.name)
            self.tags.setText(", ".join(row.tags))
            self.notes.setPlainText(row.notes)
            self._note_later.cancel()
        self._row = row
        self.state.set_state(row.state)
        self.error.setText(row.error)
        self.error.setVisible(bool(row.error))
        for name, text in figures(row).items():
            self._figures[name].setText(text)

    def save_notes(self) -> None:
        """Hand over notes that were typed and not saved yet."""
        if self._row is not None and self.notes.toPlainText() != self._row.notes:
            self.noted.emit(self._row.id, self.notes.toPlainText())

    def _rename(self) -> None:
        name = self.name.text().strip()
        if self._row is None or name == self._row.name:
            return
        if not name:
            self.name.setText(self._row.name)
            return
        self.renamed.emit(self._row.id, name)

    def _tag(self) -> None:
        if self._row is None:
            return
        after = split_tags(self.tags.text())
        if after != list(self._row.tags):
            self.tagged.emit(self._row.id, list(self._row.tags), after)

    def _build(self) -> None:
        scroll = ScrollColumn(margin=2 * GRID)
        form = QFormLayout()
        form.setSpacing(GRID)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapAllRows)
        form.addRow("Na&me", self.name)
        form.addRow("&Tags", self.tags)
        form.addRow("Note&s", self.notes)
        facts = QFormLayout()
        facts.setHorizontalSpacing(2 * GRID)
        facts.setVerticalSpacing(4)
        for name, label in self._figures.items():
            label.setAccessibleName(name)
            facts.addRow(muted(name, wrap=False), label)
        for part in (self.state, self.error):
            scroll.body.addWidget(part)
        scroll.body.addLayout(form)
        scroll.body.addLayout(facts)
        scroll.body.addStretch(1)
        self.setLayout(column(scroll))
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * 46)


FIGURES = (
    "Eval loss",
    "Steps",
    "Duration",
    "Peak memory",
    "Energy",
    "Model",
    "Data",
    "Method",
    "Trainable",
    "Created",
    "Id",
)


def figures(row: RunRow) -> dict[str, str]:
    """The panel's figures in words; a dash where there is none."""
    return {
        "Eval loss": eval_text(row),
        "Steps": steps_text(row),
        "Duration": duration_text(row),
        "Peak memory": "–" if row.peak_bytes is None else format_bytes(row.peak_bytes),
        "Energy": "–" if row.watt_hours is None else format_watt_hours(row.watt_hours),
        "Model": row.model,
        "Data": row.data,
        "Method": row.method,
        "Trainable": "–" if row.trainable is None else f"{row.trainable:,}",
        "Created": created_text(row),
        "Id": row.id,
    }


def split_tags(text: str) -> list[str]:
    """Tags of a line, in order, each once."""
    return list(dict.fromkeys(part for part in (piece.strip() for piece in text.split(",")) if part))
