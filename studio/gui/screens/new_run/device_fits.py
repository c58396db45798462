"""Which devices could run the draft, in a window of its own."""

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QWidget

from studio.core.errors import Cancelled, StudioError
from studio.core.forecast import DeviceFit
from studio.core.units import format_bytes, format_seconds
from studio.gui.backend import Backend
from studio.gui.models.records import Column, RecordTable
from studio.gui.models.view import set_widths, stretch, table_view
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.notices import EmptyState, ErrorCard, Progress
from studio.gui.widgets.sign_cells import SignDelegate
from studio.gui.widgets.signs import VERDICTS
from studio.gui.widgets.text import muted, title

TITLE = "Which devices can run this?"
NOTE = "Devices of this machine with what is free on them now, then common cards with all their memory free."


def _free(fit: DeviceFit) -> str:
    if not fit.total_bytes:
        return "unknown"
    total = format_bytes(fit.total_bytes)
    return f"{format_bytes(fit.free_bytes)} of {total}" if fit.here else total


COLUMNS: tuple[Column[DeviceFit], ...] = (
    Column("Device", lambda fit: f"{fit.name} · this machine" if fit.here else fit.name),
    Column("Verdict", lambda fit: fit.verdict, sort=lambda fit: list(VERDICTS).index(fit.verdict)),
    Column("Needs", lambda fit: format_bytes(fit.need_bytes), sort=lambda fit: fit.need_bytes, numeric=True),
    Column("Free", _free, sort=lambda fit: fit.free_bytes, numeric=True, tip="Of all it has"),
    Column("Time", lambda fit: format_seconds(fit.seconds), sort=lambda fit: fit.seconds, numeric=True),
)


class DeviceFitsDialog(QDialog):
    """Asks in the background and shows a table."""

    def __init__(self, backend: Backend, raw: Mapping[str, Any], parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(TITLE)
        self.model = RecordTable(COLUMNS, self)
        self.table = table_view("Devices and whether the run fits", self.model, sortable=True)
        self.table.setItemDelegateForColumn(1, SignDelegate(VERDICTS, self.table))
        set_widths(self.table, 40, 16, 11, 20, 15)
        stretch(self.table)
        self.progress, self.error = Progress(), ErrorCard()
        self.empty = EmptyState("devices", "No device to show", "There is none here, and no table of common cards.")
        self.empty.hide()
        close = button("&Close", self.close)
        body = column(
            title(TITLE), muted(NOTE), self.progress, self.error, self.table, self.empty, row(None, close),
            margin=2 * GRID, spacing=2 * GRID,
        )  # fmt: skip
        body.setStretch(4, 1)
        self.setLayout(body)
        self.resize(110 * GRID, 60 * GRID)
        task = run_task(self, backend.device_fits, dict(raw), done=self._show, failed=self._fail)
        self.progress.start("Asking each device…", task)

    def _show(self, fits: list[DeviceFit]) -> None:
        self.progress.stop()
        self.model.set_records(sorted(fits, key=lambda fit: not fit.here))
        self.table.setVisible(bool(fits))
        self.empty.setVisible(not fits)

    def _fail(self, error: StudioError) -> None:
        self.progress.stop()
        if isinstance(error, Cancelled):
            self.close()
        else:
            self.error.show_error(error)
