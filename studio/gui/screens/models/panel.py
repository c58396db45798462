"""What is inside one model: facts, and its sites by role."""

from PySide6.QtWidgets import QFormLayout, QFrame, QWidget

from studio.api import Site
from studio.core.errors import StudioError
from studio.core.facts import ModelFacts
from studio.gui.backend import Backend
from studio.gui.models.records import RecordTable
from studio.gui.models.view import Dispensable, set_widths, table_view
from studio.gui.screens.models.tables import ROLE_COLUMNS, facts_lines, role_lines
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.layout import column
from studio.gui.widgets.notices import ErrorCard
from studio.gui.widgets.text import ElidedLabel, muted, strong, title


class ModelPanel(QFrame):
    """Shows one model; its sites are read in the background."""

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "panel")
        self._backend = backend
        self._name = ""
        self.heading = title("")
        self.error = ErrorCard()
        self.roles = RecordTable(ROLE_COLUMNS, self)
        self._form = QFormLayout()
        self._form.setHorizontalSpacing(2 * GRID)
        self._form.setVerticalSpacing(4)
        self._values: dict[str, ElidedLabel] = {}
        table = table_view("Sites by role", self.roles)
        set_widths(table, 11, 11, 6, 10)
        Dispensable(table, 1, 2, column=4)
        self._sites_heading = strong("Where methods can sit")
        layout = column(self.heading, self._form, GRID, self._sites_heading, table, self.error, margin=2 * GRID)
        layout.setStretch(4, 1)
        self.setLayout(layout)
        self.setMinimumWidth(56 * GRID)

    def show_model(self, facts: ModelFacts) -> None:
        """Another model."""
        self._name = facts.name
        self.heading.setText(facts.name)
        self.error.hide()
        for caption, text in facts_lines(facts):
            self._value(caption).setText(text)
        self.roles.set_records(())
        name = facts.name
        run_task(
            self,
            self._backend.sites,
            f"library:{name}",
            done=lambda sites: self._show_sites(name, sites),
            failed=lambda error: self._fail(name, error),
        )

    def _show_sites(self, name: str, sites: tuple[Site, ...]) -> None:
        if name == self._name:
            self.roles.set_records(role_lines(sites))
            self._sites_heading.setText(f"Where methods can sit: {len(sites):,} sites")

    def _fail(self, name: str, error: StudioError) -> None:
        if name == self._name:
            self.error.show_error(error)

    def _value(self, caption: str) -> ElidedLabel:
        if caption not in self._values:
            label = ElidedLabel("")
            label.setAccessibleName(caption)
            self._values[caption] = label
            self._form.addRow(muted(caption, wrap=False), label)
        return self._values[caption]
