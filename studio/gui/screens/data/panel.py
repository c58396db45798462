"""One dataset: mapping with a live rendered preview, and the stored rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QIntValidator
from PySide6.QtWidgets import QComboBox, QFrame, QLineEdit, QSplitter, QTabWidget, QWidget

from studio.core.errors import InvalidSpecError, StudioError
from studio.core.facts import DataFacts
from studio.gui.backend import Backend
from studio.gui.models.pages import PAGE_ROWS, PagedTable
from studio.gui.models.view import table_view
from studio.gui.screens.data.findings import FindingsView
from studio.gui.screens.data.lengths import LengthsView
from studio.gui.screens.data.mapping import MappingForm
from studio.gui.screens.data.rendered import RenderedRows
from studio.gui.screens.data.tables import Row, about, row_columns
from studio.gui.tasks import Debounce, run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.flow import FlowLayout
from studio.gui.widgets.layout import ScrollColumn, boxed, column, row
from studio.gui.widgets.notices import ErrorCard
from studio.gui.widgets.text import ElidedLabel, muted

if TYPE_CHECKING:
    from studio.datasets.formats import Format

PREVIEW_ROWS = 8
PLAIN = "Plain text"


@dataclass(frozen=True)
class _Request:
    """What a preview was asked for; an answer to an older request is dropped."""

    name: str
    format: str
    mapping: tuple[tuple[str, str], ...]
    model: str
    start: int


class DataPanel(QFrame):
    """Shows one dataset.

    Signals: ``updated(DataFacts)`` after a mapping was saved, ``mended(DataFacts)`` after a copy was made.
    """

    updated = Signal(object)
    mended = Signal(object)

    def __init__(self, backend: Backend, formats: "dict[str, Format]", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "panel")
        self._backend = backend
        self._facts: DataFacts | None = None
        self._request: _Request | None = None
        self.heading, self.about = ElidedLabel("", role="title"), muted("")
        self.error = ErrorCard()
        self.mapping = MappingForm(formats)
        self.rendered = RenderedRows()
        self.findings, self.lengths = FindingsView(backend), LengthsView(backend)
        self.findings.row_wanted.connect(self._show_row)
        self.findings.mended.connect(self.mended.emit)
        self.rows: PagedTable[Row] = PagedTable((), self)
        self.rows.page_wanted.connect(self._fetch_page)
        self._later = Debounce(self, 150, self._preview)
        self.mapping.changed.connect(self._later.request)
        self.mapping.saved.connect(self._save)
        self.mapping.reset.connect(self._reset)
        self._build()

    def show_data(self, facts: DataFacts) -> None:
        """Another dataset."""
        self._facts = facts
        self.heading.setText(facts.name)
        self.about.setText(about(facts))
        self.error.hide()
        self._numbers.setTop(max(1, facts.rows))
        self.start.setText("1")
        self.mapping.show_facts(facts)
        self._forget(facts)
        self.rows.restart(facts.rows, row_columns(facts.columns))
        for place in range(len(facts.columns)):
            self._rows_view.setColumnWidth(place, 22 * GRID)
        self._preview()

    def offer_models(self, names: list[str]) -> None:
        """The models whose tokens can be shown."""
        chosen = self.reader.currentText()
        self.reader.clear()
        self.reader.addItems([PLAIN, *names])
        self.reader.setCurrentText(chosen if chosen in names else PLAIN)
        self.lengths.offer_models(names)

    def _build(self) -> None:
        self.reader = QComboBox()
        self.reader.setAccessibleName("Show rows as")
        self.reader.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.reader.addItem(PLAIN)
        self.reader.activated.connect(lambda _: self._preview())
        self.start = QLineEdit("1")
        self.start.setAccessibleName("First row shown")
        self.start.setMaximumWidth(12 * GRID)
        self._numbers = QIntValidator(1, 1, self.start)
        self.start.setValidator(self._numbers)
        self.start.editingFinished.connect(self._later.request)
        as_label, from_label = muted("Sho&w as", wrap=False), muted("Fro&m row", wrap=False)
        as_label.setBuddy(self.reader)
        from_label.setBuddy(self.start)
        earlier = button("&Previous", lambda: self._turn(-PREVIEW_ROWS), help="The rows before")
        later = button("&Next", lambda: self._turn(PREVIEW_ROWS), help="The rows after")
        legend = muted("What the model is trained on is underlined.", wrap=False)
        reading = QWidget()
        pager = QWidget()
        flow = FlowLayout(pager)
        for widget in (row(as_label, self.reader), row(from_label, self.start, earlier, later)):
            flow.addWidget(boxed(widget))
        parts = column(pager, self.rendered, legend)
        parts.setContentsMargins(0, GRID, 0, 0)
        reading.setLayout(parts)
        scroll = ScrollColumn(margin=GRID, spacing=GRID)
        scroll.body.addWidget(self.mapping)
        scroll.body.addStretch(1)
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(scroll)
        split.addWidget(reading)
        split.setSizes([280, 320])
        split.setChildrenCollapsible(False)
        self._rows_view = table_view("Rows as stored", self.rows)
        self._rows_view.verticalHeader().show()
        tabs = QTabWidget()
        tabs.setAccessibleName("Parts of the dataset")
        tabs.addTab(split, "As the model &sees it")
        tabs.addTab(self._rows_view, "Stored &rows")
        tabs.addTab(self.lengths, "Len&gths")
        tabs.addTab(self.findings, "&Findings")
        tabs.currentChanged.connect(self._turned)
        self._tabs = tabs
        layout = column(self.heading, self.about, self.error, tabs, margin=2 * GRID)
        layout.setStretch(3, 1)
        self.setLayout(layout)
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * 40)

    def _forget(self, facts: DataFacts) -> None:
        """Nothing is known yet of the rows as they are read now."""
        self.findings.show_data(facts)
        self.lengths.show_data(facts)

    def _turned(self, _: int) -> None:
        if self._tabs.currentWidget() is self.lengths:
            self.lengths.enter()

    def _first_row(self) -> int:
        """The index of the first row shown, from 0."""
        text = self.start.text()
        return min(max(int(text) if text.isdigit() else 1, 1), self._numbers.top()) - 1

    def _turn(self, rows: int) -> None:
        self.start.setText(str(min(max(1, self._first_row() + 1 + rows), self._numbers.top())))
        self._preview()

    def _show_row(self, place: int) -> None:
        """A row as the model sees it, and those after it."""
        self.start.setText(str(place + 1))
        self._tabs.setCurrentIndex(0)
        self._preview()

    def _preview(self) -> None:
        if self._facts is None:
            return
        model = "" if self.reader.currentText() == PLAIN else self.reader.currentText()
        form = self.mapping
        pairs = tuple(form.mapping().items())
        request = _Request(self._facts.name, form.chosen_format(), pairs, model, self._first_row())
        self._request = request
        run_task(
            self,
            self._backend.preview,
            request.name,
            request.format,
            dict(pairs),
            model,
            request.start,
            PREVIEW_ROWS,
            done=lambda found: self._show_preview(request, found),
            failed=lambda error: self._fail_preview(request, error),
        )

    def _show_preview(self, request: _Request, rows: Any) -> None:
        if request == self._request:
            self.mapping.show_problems([])
            self.rendered.show_rows(rows)

    def _fail_preview(self, request: _Request, error: StudioError) -> None:
        if request != self._request:
            return
        self.rendered.show_rows([])
        if isinstance(error, InvalidSpecError):
            self.mapping.show_problems(list(error.problems))
        else:
            self.error.show_error(error)

    def _fetch_page(self, page: int) -> None:
        if self._facts is None:
            return
        name = self._facts.name
        run_task(
            self,
            self._backend.dataset_rows,
            name,
            page * PAGE_ROWS,
            (page + 1) * PAGE_ROWS,
            done=lambda rows: self._show_page(name, page, rows),
            failed=self.error.show_error,
        )

    def _show_page(self, name: str, page: int, rows: list[Row]) -> None:
        if self._facts is not None and name == self._facts.name:
            self.rows.set_page(page, rows)

    def _save(self) -> None:
        if self._facts is not None:
            form = self.mapping
            arguments = (self._facts.name, form.chosen_format(), form.mapping())
            run_task(self, self._backend.update_dataset, *arguments, done=self._saved, failed=self._fail_save)

    def _saved(self, facts: DataFacts) -> None:
        if self._facts is not None and facts.name == self._facts.name:
            self._facts = facts
            self.about.setText(about(facts))
            self.mapping.show_facts(facts)
            self._forget(facts)
            self.updated.emit(facts)

    def _fail_save(self, error: StudioError) -> None:
        if isinstance(error, InvalidSpecError):
            self.mapping.show_problems(list(error.problems))
        else:
            self.error.show_error(error)

    def _reset(self) -> None:
        if self._facts is not None:
            self.mapping.show_facts(self._facts)
            self._preview()
