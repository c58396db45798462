"""The Devices screen: every device of the machine, read once a second while it is in view."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer

from studio.core.errors import StudioError
from studio.core.facts import DeviceFacts
from studio.gui.screens.base import Screen
from studio.gui.screens.devices.accuracy_view import AccuracyView
from studio.gui.screens.devices.card import DeviceCard
from studio.gui.screens.devices.readings import NO_GPU, Reading, read_devices
from studio.gui.tasks import run_task
from studio.gui.widgets.layout import ScrollColumn, boxed, column, row
from studio.gui.widgets.notices import ErrorCard, IconLabel, Progress
from studio.gui.widgets.text import muted, title

if TYPE_CHECKING:
    from studio.service.accuracy import Accuracy

INTERVAL_MS = 1000


class DevicesScreen(Screen):
    """Live cards, the CPU first; below them how good the studio's forecasts for these devices have been."""

    id = "devices"

    def assemble(self) -> Iterator[None]:
        self.cards: dict[str, DeviceCard] = {}
        self._known: tuple[DeviceFacts, ...] = ()
        self._reading = False
        self.error, self.progress = ErrorCard(), Progress()
        line = row(IconLabel("info", "info"), muted(NO_GPU))
        line.setStretch(1, 1)
        self.no_gpu = boxed(line)
        self.no_gpu.setAccessibleName(NO_GPU)
        self.no_gpu.hide()
        self._column = ScrollColumn()
        for widget in (title("Devices"), self.no_gpu, self.progress, self.error):
            self._column.body.addWidget(widget)
        self.accuracy: AccuracyView | None = None  # made once there is something to show
        self._column.body.addStretch(1)
        self.setLayout(column(self._column))
        self._timer = QTimer(self, interval=INTERVAL_MS)
        self._timer.timeout.connect(self._read)
        yield

    def enter(self, argument: Any = None) -> None:
        self._known = ()  # devices come and go: look again on each visit
        if not self.cards:
            self.progress.start("Looking for devices")
        self._timer.start()
        self._read()
        run_task(self, self.backend.accuracy, done=self._show_accuracy, failed=self._miss_accuracy)

    def leave(self) -> None:
        self._timer.stop()

    def _read(self) -> None:
        if self._reading:
            return
        self._reading = True
        run_task(self, read_devices, self.backend, self._known, done=self._show, failed=self._fail)

    def _show(self, readings: list[Reading]) -> None:
        self._reading = False
        self.progress.stop()
        self.error.hide()
        self._known = tuple(reading.facts for reading in readings)
        self.no_gpu.setVisible(not any(facts.kind == "cuda" for facts in self._known))
        for gone in set(self.cards) - {facts.id for facts in self._known}:
            self.cards.pop(gone).deleteLater()
        for reading in readings:
            card = self.cards.get(reading.facts.id)
            if card is not None:
                card.show_reading(reading)
        missing = [reading for reading in readings if reading.facts.id not in self.cards]
        if missing:
            self._add(missing[0])
        if missing[1:]:  # one card a turn, so that many devices do not hold up the window
            QTimer.singleShot(0, self, lambda: self._show(readings))

    def _add(self, reading: Reading) -> None:
        card = DeviceCard(reading)
        self.cards[reading.facts.id] = card
        self._column.body.insertWidget(self._column.body.count() - (1 if self.accuracy is None else 2), card)

    def _show_accuracy(self, found: "Accuracy") -> None:
        self._accuracy_view().show_accuracy(found)

    def _miss_accuracy(self, error: StudioError) -> None:
        self._accuracy_view().show_error(error)

    def _accuracy_view(self) -> AccuracyView:
        if self.accuracy is None:
            self.accuracy = AccuracyView()
            self.accuracy.opened.connect(lambda run: self.navigate.emit("run", run))
            self._column.body.insertWidget(self._column.body.count() - 1, self.accuracy)
        return self.accuracy

    def _fail(self, error: StudioError) -> None:
        self._reading = False
        self.progress.stop()
        self.error.show_error(error)
