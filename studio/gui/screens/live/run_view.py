"""One run on screen: head, plots and details, kept up to date batch by batch."""

import time
from collections.abc import Iterator

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QTabWidget, QWidget

from studio.core.errors import StudioError
from studio.core.events import EpochEnded
from studio.core.state import RunSnapshot
from studio.core.units import format_bytes, format_watt_hours
from studio.gui.screens.live import words
from studio.gui.screens.live.charts import DEFAULT_SMOOTHING, RunCharts, memory_series
from studio.gui.screens.live.curves import RunCurves
from studio.gui.screens.live.details import RunDetails
from studio.gui.screens.live.evals_view import EvalsView
from studio.gui.screens.live.files_view import FilesView
from studio.gui.screens.live.follower import Follower
from studio.gui.screens.live.header import Headline, RunHeader
from studio.gui.screens.live.log_view import LogView
from studio.gui.screens.live.plan_view import PlanView
from studio.gui.screens.live.samples_view import SamplesView
from studio.gui.screens.live.tail import Batch, read_text_end
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.layout import ScrollColumn, column
from studio.gui.widgets.notices import ErrorCard

STDERR_LINES = 12
FAILED = ("failed", "crashed")


class RunView(QWidget):
    """Shows and follows one run, once ``assemble`` is through.

    Signals: ``state_changed(str)``; ``failed(StudioError)``.
    """

    state_changed = Signal(str)
    failed = Signal(object)

    def assemble(self) -> Iterator[None]:
        """Make the parts; the window may answer between two of them."""
        self.header, self.error, self.tabs = RunHeader(), ErrorCard(), QTabWidget()
        self._lay_out()
        yield
        self.charts = RunCharts()
        self._scroll = ScrollColumn(margin=0)
        self._scroll.body.addWidget(self.charts)
        self.tabs.addTab(self._scroll, "&Curves")
        yield from self.charts.assemble()
        yield
        self.samples, self.evals = SamplesView(), EvalsView()
        self.tabs.addTab(self.samples, "Ou&tputs")
        self.tabs.addTab(self.evals, "&Evals")
        yield
        self.log, self.plan, self.files = LogView(), PlanView(), FilesView()
        self.tabs.addTab(self.log, "&Log")
        self.tabs.addTab(self.plan, "&Plan")
        self.tabs.addTab(self.files, "&Files")
        yield
        self.follower = Follower(self)
        self.follower.arrived.connect(self._apply)
        self.follower.failed.connect(self.failed)
        self.charts.smoothing_changed.connect(self._smooth)
        self.details: RunDetails | None = None
        self.snapshot = RunSnapshot()
        self.curves = RunCurves()
        self._epochs: tuple[EpochEnded, ...] = ()
        self._smoothing = DEFAULT_SMOOTHING
        self._stale: set[str] = set()
        self.tabs.currentChanged.connect(lambda _: self._show_tab())

    @property
    def state(self) -> str:
        return self.snapshot.state

    def open(self, details: RunDetails) -> None:
        """Show another run, replayed from its first event."""
        self.details, self.snapshot, self._epochs = details, RunSnapshot(), ()
        self.curves = RunCurves(self._smoothing)
        self.header.set_title(details.name, details.about)
        self.error.hide()
        self.charts.clear()
        self.charts.set_estimate(details.estimate)
        self.plan.open(details.plan, details.estimate)
        self.log.open(details.folder)
        self.files.open(details.folder)
        self._show_snapshot()
        self.follower.open(details.folder)

    def _lay_out(self) -> None:
        self.tabs.setDocumentMode(True)
        self.tabs.setAccessibleName("Parts of the run")
        layout = column(self.header, self.error, self.tabs)
        layout.setStretch(2, 1)
        layout.setSpacing(GRID)
        self.setLayout(layout)

    def _apply(self, batch: Batch) -> None:
        changed = self.curves.apply(batch)
        self.charts.apply(self.curves, changed)
        if batch.news:
            before, self.snapshot, self._epochs = self.snapshot.state, batch.snapshot, batch.epochs
            self._show_snapshot()
            if self.snapshot.state != before:
                self._show_failure()
                self.state_changed.emit(self.snapshot.state)
        self.header.show_headline(self._headline())
        if self.log.isVisible():
            self.log.refresh()

    def _show_snapshot(self) -> None:
        self.header.show_headline(self._headline())
        self.charts.show_snapshot(self.snapshot, self.curves, self._epochs)
        self._show_tab()

    def _show_tab(self) -> None:
        """Only the details on screen are kept fresh."""
        view = self.tabs.currentWidget()
        if isinstance(view, SamplesView | EvalsView | LogView | PlanView | FilesView):
            view.apply(self.snapshot)

    def _smooth(self, weight: float) -> None:
        self._smoothing = weight
        self.curves.smooth_loss.set_weight(weight)
        self.charts.apply(self.curves, {"loss"})
        self.header.show_headline(self._headline())

    def _headline(self) -> Headline:
        snapshot, curves = self.snapshot, self.curves
        steps = self.details.steps if self.details else None
        live = words.is_live(snapshot.state)
        left = words.remaining_s(snapshot.step, steps, curves.recent_seconds_per_step()) if live else None
        _, memory = memory_series(curves)
        speed = curves.get("tokens_per_second")
        energy = words.watt_hours(snapshot, curves.get("energy_j"), curves.get("power_w"))
        return Headline(
            state=snapshot.state,
            loss=words.loss_text(curves.smooth_loss.last),
            loss_caption="training loss, smoothed" if self._smoothing else "training loss",
            step=words.step_text(snapshot.step, steps),
            remaining=words.time_text(left),
            elapsed=words.time_text(words.elapsed_s(snapshot, time.time())),
            speed=f"{speed.last:,.0f}" if len(speed) else "–",
            memory=format_bytes(memory.last) if len(memory) else "–",
            energy="–" if energy is None else format_watt_hours(energy),
            phase=words.phase_text(snapshot),
            progress=words.progress(snapshot, steps),
        )

    def _show_failure(self) -> None:
        """The error card: what, where, what to do, and the end of stderr."""
        if self.snapshot.state not in FAILED or self.details is None:
            self.error.hide()
            return
        run_task(self, read_text_end, self.details.folder.stderr, 4096, done=self._fill_error_card)

    def _fill_error_card(self, stderr: str) -> None:
        if self.snapshot.state not in FAILED:  # it was resumed meanwhile
            return
        error = self.snapshot.error
        tail = "\n".join(stderr.rstrip().splitlines()[-STDERR_LINES:])
        if error is not None:
            self.error.show_words(error.message, where=error.where, hint=error.hint, details=tail)
            return
        self.error.show_words(
            self.snapshot.reason or "the worker ended without saying why",
            hint="the last lines it wrote are below; Resume continues from the last checkpoint",
            details=tail or "It wrote nothing to its error log.",
        )

    def show_error(self, error: StudioError) -> None:
        """An error about this run that is not the run's own."""
        self.error.show_error(error)
