"""How long a dataset's rows are for a model, what a limit cuts off, and how often each answer is given."""

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtGui import QIntValidator
from PySide6.QtWidgets import QComboBox, QLineEdit, QWidget

from studio.core.errors import Cancelled, StudioError
from studio.core.facts import DataFacts
from studio.gui.backend import Backend
from studio.gui.models.records import Column, RecordTable
from studio.gui.models.view import set_widths, stretch, table_view
from studio.gui.tasks import Task, run_task
from studio.gui.theme import GRID
from studio.gui.widgets.flow import FlowLayout
from studio.gui.widgets.histogram import Histogram
from studio.gui.widgets.layout import boxed, column, row
from studio.gui.widgets.notices import ErrorCard, Progress
from studio.gui.widgets.text import Label, muted

if TYPE_CHECKING:
    from studio.datasets.statistics import Statistics

LONGEST = 512
MOST = 1_000_000


class LengthsView(QWidget):
    """Measures once it is seen; ``show_data`` says of what, ``offer_models`` in whose tokens."""

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._backend = backend
        self._facts: DataFacts | None = None
        self._task: Task | None = None
        self._measured: Statistics | None = None
        self.reader = QComboBox()
        self.reader.setAccessibleName("Tokens of this model")
        self.reader.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.reader.activated.connect(lambda _: self._measure())
        self.longest = QLineEdit(str(LONGEST))
        self.longest.setAccessibleName("Longest row in tokens")
        self.longest.setValidator(QIntValidator(1, MOST, self.longest))
        self.longest.setMaximumWidth(12 * GRID)
        self.longest.textChanged.connect(lambda _: self._show_limit())
        self.error, self.progress = ErrorCard(), Progress()
        self.chart = Histogram("tokens", "rows")
        self.words, self.limit = Label("", wrap=True), muted("")
        self.answers: RecordTable[tuple[str, int, float]] = RecordTable((
            Column("Answer", lambda found: " ".join(found[0].split()) or "(empty)"),
            Column("Rows", lambda found: f"{found[1]:,}", sort=lambda found: found[1], numeric=True),
            Column("Share", lambda found: f"{found[2]:.1%}", sort=lambda found: found[2], numeric=True),
        ), self)  # fmt: skip
        self.table = table_view("How often each answer is given", self.answers, sortable=True)
        set_widths(self.table, 12, 8, 8)
        stretch(self.table)
        self._build()

    def show_data(self, facts: DataFacts) -> None:
        """Another dataset, or the same read otherwise."""
        self._facts, self._measured = facts, None
        self._stop()
        self.error.hide()
        self._show()
        if self.isVisible():
            self._measure()

    def offer_models(self, names: list[str]) -> None:
        """The models whose tokens can be counted."""
        chosen = self.reader.currentText()
        self.reader.clear()
        self.reader.addItems(names)
        if chosen in names:
            self.reader.setCurrentText(chosen)
        if self.isVisible() and self._measured is None:
            self._measure()

    def enter(self) -> None:
        """The view is seen: measure what is not measured yet."""
        if self._measured is None and self._task is None:
            self._measure()

    def _build(self) -> None:
        of_label, longest_label = muted("To&kens of", wrap=False), muted("Longes&t row", wrap=False)
        of_label.setBuddy(self.reader)
        longest_label.setBuddy(self.longest)
        head = QWidget()
        flow = FlowLayout(head)
        for widget in (row(of_label, self.reader), row(longest_label, self.longest)):
            flow.addWidget(boxed(widget))
        layout = column(head, self.error, self.progress, self.words, self.chart, self.limit, self.table, margin=GRID)
        for place, share in ((4, 3), (6, 2)):
            layout.setStretch(place, share)
        self.setLayout(layout)

    def _measure(self) -> None:
        facts, model = self._facts, self.reader.currentText()
        if facts is None or not model:
            return
        self._stop()
        task = run_task(
            self, self._backend.measure_dataset, facts.name, model, done=lambda found: self._found(task, found),
            failed=lambda error: self._fail(task, error), progress=self.progress.report,
        )  # fmt: skip
        self._task = task
        self.progress.start("Measuring rows", task)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.progress.stop()

    def _found(self, task: Task, found: "Statistics") -> None:
        if task is self._task:
            self._stop()
            self._measured = found
            self._show()

    def _fail(self, task: Task, error: StudioError) -> None:
        if task is self._task:
            self._stop()
            if not isinstance(error, Cancelled):
                self.error.show_error(error)

    def _show(self) -> None:
        found = self._measured
        self.chart.set_values(found.tokens if found else np.zeros(0, np.int64))
        self.words.setText(_in_words(found, self._facts.rows) if found and self._facts else "")
        answers = found.answers if found else {}
        total = sum(answers.values())
        self.answers.set_records([(answer, count, count / total) for answer, count in answers.items()])
        self.table.setVisible(bool(answers))
        self._show_limit()

    def _show_limit(self) -> None:
        longest = int(self.longest.text() or 0)
        self.chart.set_limit(longest or None)
        found = self._measured
        if found is None or not longest or not len(found.tokens):
            self.limit.setText("")
            return
        cut = found.cut(longest)
        self.limit.setText(f"{cut:.1%} of them are longer than {longest:,} tokens and would be cut." if cut else
                           f"None of them is longer than {longest:,} tokens.")  # fmt: skip


def _in_words(found: "Statistics", rows: int) -> str:
    """What was measured, in a sentence or two."""
    looked = f"{found.rows:,} of {rows:,} rows, spread evenly" if found.rows < rows else f"all {rows:,} rows"
    left_out = f" {found.unusable:,} cannot be learned from." if found.unusable else ""
    if not len(found.tokens):
        return f"Looked at {looked}.{left_out}"
    half, most = (int(np.percentile(found.tokens, share, method="higher")) for share in (50, 95))
    return (
        f"Looked at {looked}: {found.tokens.mean():,.0f} tokens on average, half have at most {half:,}, 95% at most "
        f"{most:,}, the longest {int(found.tokens.max()):,}; {found.trained.mean():,.1f} of them are trained.{left_out}"
    )
