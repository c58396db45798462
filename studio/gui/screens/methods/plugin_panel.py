"""One plugin of others: what it is, what is wrong with it, and what the last check found."""

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFrame, QWidget

from studio.gui.backend import Backend
from studio.gui.models.records import RecordTable
from studio.gui.models.view import set_widths, table_view
from studio.gui.screens.methods.log_dialog import LogDialog
from studio.gui.screens.methods.plugin_tables import ORIGINS, report_words, result_columns, worst_first
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.notices import ErrorCard
from studio.gui.widgets.text import Label, muted, title

if TYPE_CHECKING:
    from studio.service.check_reports import CheckResult, Report
    from studio.service.plugins import PluginInfo


class PluginPanel(QFrame):
    """The buttons ``switch``, ``check`` and ``remove`` are the owner's to connect."""

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "panel")
        self._backend = backend
        self._id = ""
        self.heading, self.facts, self.summary = title(""), muted(""), Label("", wrap=True)
        self.error = ErrorCard()
        self.switch = button("")
        self.check = button("Chec&k", icon="check", help="Run the conformance kit on it, on tiny models")
        self.log = button("Lo&g", self._open_log, icon="file", help="What it printed")
        self.remove = button("&Remove…", icon="trash", role="danger")
        self.outcome = muted("")
        self.results: RecordTable[CheckResult] = RecordTable(result_columns(), self)
        self.table = table_view("Results of the checks", self.results, sortable=True)
        set_widths(self.table, 13, 7, 15)
        layout = column(
            self.heading, self.facts, self.summary, self.error,
            row(self.switch, self.check, self.log, None, self.remove), self.outcome, self.table,
            spacing=GRID, margin=2 * GRID,
        )  # fmt: skip
        layout.setStretch(6, 1000)
        layout.addStretch(1)  # below the buttons while there is no table
        self.setLayout(layout)

    def show_plugin(self, info: "PluginInfo") -> None:
        self._id = info.id
        self.heading.setText(info.title or info.id)
        origin = f"from {ORIGINS[info.origin]}" if info.origin else ""
        version = f"version {info.version}" if info.version else ""
        self.facts.setText("  ·  ".join(filter(None, (info.id, info.kind, version, origin, info.folder))))
        self.summary.setText(info.summary)
        self.summary.setVisible(bool(info.summary))
        self.error.hide()
        if info.error:
            message, _, hint = info.error.removeprefix(f"plugin {info.id!r}: ").partition("\n")
            self.error.show_words(message, hint=hint.strip())
        self.switch.setText("&Turn off" if info.enabled else "&Turn on")
        self.switch.setVisible(info.origin is not None)
        self.check.setVisible(info.origin is not None and info.kind == "method")
        self.remove.setVisible(Path(info.folder).is_relative_to(self._backend.home().plugins))
        self._show_report(None)
        if info.origin is not None:
            run_task(self, self._backend.plugin_report, info.id, done=lambda found: self._deliver(info.id, found))

    def _deliver(self, plugin_id: str, report: "Report | None") -> None:
        if plugin_id == self._id:
            self._show_report(report)

    def _show_report(self, report: "Report | None") -> None:
        self.outcome.setText(report_words(report))
        self.results.set_records(worst_first(report) if report else [])
        self.table.setVisible(report is not None)

    def _open_log(self) -> None:
        LogDialog(self._backend, self._id, self).open()
