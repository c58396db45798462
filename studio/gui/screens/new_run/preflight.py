"""The Pre-flight panel: before anything runs, does it fit, how long, how much."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import QSize, QTimer, Signal
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.forecast import Estimate
from studio.core.plan import Auto
from studio.core.problems import Problem
from studio.core.units import format_bytes
from studio.gui.backend import Check
from studio.gui.screens.new_run import words
from studio.gui.screens.new_run.advice import AdviceList
from studio.gui.screens.new_run.basis import BasisChip, Evidence
from studio.gui.screens.new_run.figures import Figures
from studio.gui.theme import GRID, theme
from studio.gui.widgets.buttons import button
from studio.gui.widgets.fields import in_words
from studio.gui.widgets.layout import Fold, ScrollColumn, clear_layout, column, hairline, row
from studio.gui.widgets.notices import IconLabel, Progress
from studio.gui.widgets.signs import Sign
from studio.gui.widgets.stacked_bar import Part, StackedBar
from studio.gui.widgets.text import Label, muted, number, strong, title

WAITING = "Choose a model, data and a method: here you see whether the run fits, how long it takes and what it costs."
SOLVE_FIRST = "The forecast comes back when this is solved."
WIDEST = 63 * GRID  # px, so that the form keeps its room with large text


class Preflight(QFrame):
    """Signals: ``show_problem(path)``, ``compare_devices()``, ``start()``; advice and evidence have their own."""

    show_problem = Signal(str)
    compare_devices = Signal()
    start = Signal()

    def __init__(self, name_of: Callable[[str], str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name_of = name_of
        self.setProperty("role", "panel")
        self.setAccessibleName("Pre-flight")
        self._check: Check | None = None
        self._currency = ""
        self.verdict = Sign(large=True)
        self.need = Label("", role="large-number")
        self.band = Label("", role="muted")
        self.room, self.free = muted(""), muted("")
        self.bar = StackedBar()
        self.parts = Figures(len(words.PART_WORDS), units_below=True)
        self.figures = Figures(6)
        self.basis, self.evidence = BasisChip(), Evidence()
        self.waiting = muted(WAITING)
        self.problems = QVBoxLayout()
        self.advice = AdviceList()
        self.devices = button("Which devices can run this?", self.compare_devices.emit, role="link",
                              help="Compare this machine's devices and common cards")  # fmt: skip
        self.autos = Fold("Chosen for you")
        self.autos.folded.connect(lambda _folded: self._show_autos())
        self._shown_autos: tuple[Auto, ...] = ()
        self.busy = Progress()
        self.start_button = button("Start run", self.start.emit, icon="play", role="primary",
                                   help="Start training in the background (Ctrl+Enter)")  # fmt: skip
        self.forecast = self._forecast_area()
        scroll = self._scroll = ScrollColumn(margin=2 * GRID, spacing=GRID)
        scroll.setAccessibleName("Pre-flight details")
        scroll.body.addLayout(self.problems)
        scroll.body.addWidget(self.waiting)
        scroll.body.addWidget(self.forecast)
        scroll.body.addWidget(self.autos)
        scroll.body.addStretch(1)
        heading = column(row(title("Pre-flight"), None, self.basis), spacing=0)
        heading.setContentsMargins(2 * GRID, 2 * GRID, 2 * GRID, 0)
        footer = row(self.busy, None, self.start_button)
        footer.setContentsMargins(2 * GRID, GRID, 2 * GRID, 2 * GRID)
        self.setLayout(column(heading, scroll, hairline(), footer, spacing=0))
        self.layout().setStretch(1, 1)  # type: ignore[union-attr]
        self.show_check(None)
        theme().watch(self, lambda self: self.show_check(self._check))  # the parts' colours are the theme's

    def sizeHint(self) -> QSize:
        return QSize(min(self.fontMetrics().averageCharWidth() * 46, WIDEST), 60 * GRID)

    def set_currency(self, currency: str) -> None:
        self._currency = currency

    def show_check(self, check: Check | None) -> None:
        """Show what a check found; None: nothing is known yet."""
        self._check = check
        plan, estimate = (check.plan, check.estimate) if check else (None, None)
        errors = [problem for problem in check.problems if problem.severity == "error"] if check else []
        self._show_problems(check.problems if check else ())
        self.waiting.setVisible(estimate is None)
        self.waiting.setText(WAITING if not errors else SOLVE_FIRST)
        self.start_button.setEnabled(plan is not None and not errors)
        self.start_button.setText("Start run")
        self._show_autos()
        self.basis.show_basis(estimate)
        if estimate is None or check is None or plan is None:
            self.forecast.hide()
            return
        self.verdict.set_verdict(estimate.verdict)
        self.start_button.setText("Start anyway" if estimate.verdict == "does not fit" else "Start run")
        need, band = words.memory_words(estimate.memory)
        self.need.setText(need)
        self.band.setText(band)
        self.room.setText(words.room_words(estimate.room))
        self.room.setVisible(estimate.verdict != "unknown")
        self.free.setText(words.device_words(check.device))
        self._show_parts(estimate, check)
        cost = words.cost_words(estimate.energy, self._currency)
        self.figures.show_rows([
            ("Time", *words.time_words(estimate.time), None),
            ("Steps", *words.step_words(estimate, plan), None),
            ("Energy", *words.energy_words(estimate.energy), None),
            ("Cost", *cost, None),
            ("CO₂", *words.co2_words(estimate.energy), None),
            ("Trainable", *words.trainable_words(plan), None),
        ])  # fmt: skip
        self.evidence.show_basis(estimate)
        self.advice.show_advice(estimate.advice)
        self.forecast.show()  # last: what comes into a shown layout is laid out one by one

    def end_probe(self, error: StudioError | None = None) -> None:
        """The probe is over; ``error`` says why it measured nothing."""
        self.evidence.end_probe(error)
        QTimer.singleShot(0, self, self._reveal_probe_error)  # once it has its place

    def _reveal_probe_error(self) -> None:
        if self.evidence.error.isVisible():
            self._scroll.ensureWidgetVisible(self.evidence.error)

    def _forecast_area(self) -> QWidget:
        area = QWidget()
        need = row(self.need, self.band, None)
        details = Fold("Memory by part", open_=True)
        details.body.addWidget(self.parts)
        area.setLayout(column(
            self.verdict, self.room, need, self.bar, self.free, self.advice, row(self.devices, None), details,
            hairline(), self.figures, self.evidence,
        ))  # fmt: skip
        return area

    def _show_parts(self, estimate: Estimate, check: Check) -> None:
        colors = theme().tokens.parts
        parts = [
            Part(label, getattr(estimate.memory.parts, name), colors[index])
            for index, (name, label) in enumerate(words.PART_WORDS.items())
        ]
        device = check.device if check.device and check.device.total_bytes else None
        self.bar.set_forecast(
            parts,
            low=estimate.memory.low_bytes,
            high=estimate.memory.high_bytes,
            free=device.free_bytes if device else None,
            total=device.total_bytes if device else None,
        )
        self.parts.show_rows([(part.name, format_bytes(part.bytes_), "", part.color) for part in parts if part.bytes_])

    def _show_problems(self, problems: Sequence[Problem]) -> None:
        clear_layout(self.problems)
        if problems:
            errors = sum(problem.severity == "error" for problem in problems)
            self.problems.addWidget(strong(_heading(errors, len(problems) - errors)))
        for problem in problems:
            sign = ("error", "doesnotfit") if problem.severity == "error" else ("warning", "close")
            link = button(self._name_of(problem.where), None, role="fold", help=f"Go to {problem.where}")
            link.clicked.connect(lambda *_, where=problem.where: self.show_problem.emit(where))
            text = column(row(link, None), Label(in_words(problem), wrap=True), spacing=0)
            line = row(column(4, IconLabel(*sign), None), text)
            line.setStretch(1, 1)
            self.problems.addLayout(line)

    def _show_autos(self) -> None:
        """Fill in the reasons once somebody wants to read them: that takes longer than all the rest of a check."""
        autos = self._check.plan.autos if self._check is not None and self._check.plan is not None else ()
        self.autos.setVisible(bool(autos))
        if not self.autos.is_open or autos == self._shown_autos:
            return
        clear_layout(self.autos.body)
        self._shown_autos = autos
        for auto in autos:
            value = (
                {True: "on", False: "off"}.get(auto.value, auto.value) if isinstance(auto.value, bool) else auto.value
            )
            name = auto.field.rsplit(".", 1)[-1].replace("_", " ")
            figure = f"{value:g}" if isinstance(value, float) else str(value)
            self.autos.body.addLayout(column(row(Label(name), None, number(figure)), muted(auto.reason), spacing=0))


def _heading(errors: int, warnings: int) -> str:
    parts = []
    if errors:
        parts.append(f"{errors} problem{'s' if errors != 1 else ''} to solve")
    if warnings:
        parts.append(f"{warnings} warning{'s' if warnings != 1 else ''}")
    return ", ".join(parts)
