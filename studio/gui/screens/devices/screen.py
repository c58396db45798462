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
from studio.gui.tasks import run_in_steps, run_task
from studio.gui.theme import GRID
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
        self._cards = column(spacing=2 * GRID)
        self._column.body.addLayout(self._cards)
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
        show = lambda found: run_in_steps(self, self._show_accuracy(found))  # noqa: E731 - what was found, or why not
        run_task(self, self.backend.accuracy, done=show, failed=show)

    def leave(self) -> None:
        self._timer.stop()

    def _read(self) -> None:
        if self._reading:
            return
        self._reading = True
        run_task(self, read_devices, self.backend, self._known, done=self._show, failed=self._fail)

    def _show(self, readings: list[Reading]) -> None:
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
        run_in_steps(self, self._add([reading for reading in readings if reading.facts.id not in self.cards]))

    def _add(self, missing: list[Reading]) -> Iterator[None]:
        for reading in missing:
            card = DeviceCard(reading)
            yield
            self._cards.addWidget(card)
            self.cards[reading.facts.id] = card
            yield
        self._reading = False

    def _show_accuracy(self, found: "Accuracy | StudioError") -> Iterator[None]:
        if self.accuracy is None:
            self.accuracy = AccuracyView()
            self.accuracy.opened.connect(lambda run: self.navigate.emit("run", run))
            yield
            self._column.body.insertWidget(self._column.body.count() - 1, self.accuracy)
            yield
        if isinstance(found, StudioError):
            self.accuracy.show_error(found)
        else:
            self.accuracy.show_accuracy(found)

    def _fail(self, error: StudioError) -> None:
        self._reading = False
        self.progress.stop()
        self.error.show_error(error)
