"""What is wrong with a dataset's rows: found on demand, shown with the rows, mended in a copy."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QWidget

from studio.core.errors import Cancelled, StudioError
from studio.core.facts import DataFacts
from studio.gui.backend import Backend
from studio.gui.tasks import Task, run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.flow import FlowLayout
from studio.gui.widgets.layout import ScrollColumn, boxed, clear_layout, column, hairline, row
from studio.gui.widgets.notices import ErrorCard, IconLabel, Progress
from studio.gui.widgets.text import Label, muted, sentence

if TYPE_CHECKING:
    from studio.datasets.lint.finding import Finding

LINKED_ROWS = 12
ABOUT = (
    "Reads every row for damaged text, HTML, leftovers of templates, personal data and offence, and for rows that "
    "repeat or contradict each other."
)


class FindingsView(QWidget):
    """Signals: ``row_wanted(int)`` to see a row, from 0; ``mended(DataFacts)`` after a copy was made."""

    row_wanted = Signal(int)
    mended = Signal(object)

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._backend = backend
        self._facts: DataFacts | None = None
        self._task: Task | None = None
        self.choices: list[tuple[Finding, QCheckBox]] = []
        self.about = muted(ABOUT)
        self.check = button("C&heck all rows", self._check, icon="search")
        self.mend = button(
            "&Make a mended copy", self._mend, icon="copy", help="A new dataset; this one stays as it is"
        )
        self.error, self.progress = ErrorCard(), Progress()
        self.list = ScrollColumn(margin=0, spacing=GRID)
        head = row(self.about, self.check, spacing=2 * GRID)
        head.setStretch(0, 1)
        layout = column(head, self.error, self.progress, self.list, row(None, self.mend), margin=GRID)
        layout.setStretch(3, 1)
        self.setLayout(layout)

    def show_data(self, facts: DataFacts) -> None:
        """Another dataset, or the same read otherwise: nothing is known of its rows."""
        if self._task is not None:
            self._task.cancel()
            self._ended()
        self._facts = facts
        self.about.setText(ABOUT)
        self.error.hide()
        self._show([])

    def show_findings(self, findings: "list[Finding]") -> None:
        """What a check of all rows found."""
        rows = f"{self._facts.rows:,} rows" if self._facts else "rows"
        kinds = f"{len(findings)} kind{'s' if len(findings) != 1 else ''} of fault"
        self.about.setText(f"Checked {rows}: {kinds} found." if findings else f"Checked {rows}: nothing is wrong.")
        self._show(findings)

    def _check(self) -> None:
        self._start("Checking rows", self._backend.lint_dataset, done=self.show_findings)

    def _mend(self) -> None:
        chosen = [finding for finding, box in self.choices if box.isChecked()]
        self._start("Mending rows", self._backend.mend_dataset, chosen, done=self.mended.emit)

    def _start(self, phase: str, function: Callable[..., Any], *args: Any, done: Callable[[Any], object]) -> None:
        if self._facts is None:
            return
        name = self._facts.name

        def finish(result: Any) -> None:
            if self._facts is not None and self._facts.name == name:
                self._ended()
                done(result)

        self.error.hide()
        task = run_task(
            self, function, name, *args, done=finish, failed=lambda error: self._fail(name, error),
            progress=self.progress.report,
        )  # fmt: skip
        self._task = task
        self.progress.start(phase, task)
        self.check.setEnabled(False)
        self.mend.setEnabled(False)

    def _fail(self, name: str, error: StudioError) -> None:
        if self._facts is None or self._facts.name != name:
            return
        self._ended()
        if not isinstance(error, Cancelled):
            self.error.show_error(error)

    def _ended(self) -> None:
        self._task = None
        self.progress.stop()
        self.check.setEnabled(True)
        self._offer()

    def _show(self, findings: "list[Finding]") -> None:
        clear_layout(self.list.body)
        self.choices = []
        for finding in findings:
            self.list.body.addWidget(self._entry(finding))
            self.list.body.addWidget(hairline())
        self.list.body.addStretch(1)
        self.mend.setVisible(bool(self.choices))
        self._offer()

    def _entry(self, finding: "Finding") -> QWidget:
        sign = ("error", "doesnotfit") if finding.severity == "error" else ("warning", "close")
        shown = [int(place) for place in finding.rows[:LINKED_ROWS]]
        links = QWidget()
        flow = FlowLayout(links)
        for place in shown:
            flow.addWidget(self._link(place))
        if len(finding.rows) > len(shown):
            flow.addWidget(muted(f"and {len(finding.rows) - len(shown):,} more", wrap=False))
        share = f"{len(finding.rows):,} of {finding.total:,} rows"
        texts = column(
            Label(f"{sentence(finding.message)}: {share}", wrap=True), muted(sentence(finding.hint)),
            links, spacing=4,
        )  # fmt: skip
        if finding.mends:
            box = QCheckBox(sentence(finding.mends))
            box.toggled.connect(lambda *_: self._offer())
            self.choices.append((finding, box))
            texts.addWidget(box)
        line = row(column(2, IconLabel(*sign, 16), None), texts)
        line.setStretch(1, 1)
        return boxed(line)

    def _link(self, place: int) -> QWidget:
        return button(f"Row {place + 1:,}", lambda: self.row_wanted.emit(place), role="link", help="Show this row")

    def _offer(self) -> None:
        self.mend.setEnabled(self._task is None and any(box.isChecked() for _, box in self.choices))
