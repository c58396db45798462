"""The Pre-flight panel: before anything runs, does it fit, how long, how much."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QVBoxLayout, QWidget

from studio.core.forecast import Advice, Estimate
from studio.core.plan import Auto
from studio.core.problems import Problem
from studio.core.units import format_bytes
from studio.gui.backend import Check
from studio.gui.screens.new_run import words
from studio.gui.theme import GRID, theme
from studio.gui.widgets.buttons import button
from studio.gui.widgets.fields import in_words, sentence
from studio.gui.widgets.layout import Fold, ScrollColumn, clear_layout, column, hairline, row
from studio.gui.widgets.notices import IconLabel, Progress
from studio.gui.widgets.signs import Sign
from studio.gui.widgets.stacked_bar import Part, StackedBar
from studio.gui.widgets.text import ElidedLabel, Label, muted, number, strong, title

WAITING = "Choose a model, data and a method: here you see whether the run fits, how long it takes and what it costs."
SOLVE_FIRST = "The forecast comes back when this is solved."
WIDEST = 63 * GRID  # px, so that the form keeps its room with large text


class Preflight(QFrame):
    """Signals: ``advised(patch)``, ``show_problem(path)``, ``start()``."""

    advised = Signal(object)
    show_problem = Signal(str)
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
        self.room = muted("")
        self.bar = StackedBar()
        self.parts = _Figures(units_below=True)
        self.figures = _Figures()
        self.evidence = muted("")
        self.waiting = muted(WAITING)
        self.problems = QVBoxLayout()
        self.advice = QVBoxLayout()
        self.autos = Fold("Chosen for you")
        self.busy = Progress()
        self.start_button = button("Start run", self.start.emit, icon="play", role="primary",
                                   help="Start training in the background (Ctrl+Enter)")  # fmt: skip
        self.forecast = self._forecast_area()
        scroll = ScrollColumn(margin=2 * GRID, spacing=GRID)
        scroll.setAccessibleName("Pre-flight details")
        scroll.body.addLayout(self.problems)
        scroll.body.addWidget(self.waiting)
        scroll.body.addWidget(self.forecast)
        scroll.body.addWidget(self.autos)
        scroll.body.addStretch(1)
        heading = column(row(title("Pre-flight"), None), spacing=0)
        heading.setContentsMargins(2 * GRID, 2 * GRID, 2 * GRID, 0)
        footer = row(self.busy, None, self.start_button)
        footer.setContentsMargins(2 * GRID, GRID, 2 * GRID, 2 * GRID)
        self.setLayout(column(heading, scroll, hairline(), footer, spacing=0))
        self.layout().setStretch(1, 1)  # type: ignore[union-attr]
        self.show_check(None)
        theme().watch(self, lambda: self.show_check(self._check))  # the parts' colours are the theme's

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
        self.forecast.setVisible(estimate is not None and plan is not None)
        self.waiting.setVisible(estimate is None)
        self.waiting.setText(WAITING if not errors else SOLVE_FIRST)
        self.start_button.setEnabled(plan is not None and not errors)
        self.start_button.setText("Start run")
        self._show_autos(plan.autos if plan else ())
        if estimate is None or check is None or plan is None:
            return
        self.verdict.set_verdict(estimate.verdict)
        self.start_button.setText("Start anyway" if estimate.verdict == "does not fit" else "Start run")
        need, band = words.memory_words(estimate.memory)
        self.need.setText(need)
        self.band.setText(band)
        self.room.setText(words.device_words(check.device))
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
        self.evidence.setText(sentence(estimate.evidence or words.BASIS_WORDS[estimate.basis]))
        self._show_advice(estimate.advice)

    def _forecast_area(self) -> QWidget:
        area = QWidget()
        self.advice.setSpacing(GRID)
        need = row(self.need, self.band, None)
        details = Fold("Memory by part", open_=True)
        details.body.addWidget(self.parts)
        area.setLayout(column(
            self.verdict, need, self.bar, self.room, self.advice, details, hairline(), self.figures, self.evidence,
        ))  # fmt: skip
        return area

    def _show_parts(self, estimate: Estimate, check: Check) -> None:
        colors = theme().tokens.parts
        parts = [
            Part(label, getattr(estimate.memory.parts, name), colors[index])
            for index, (name, label) in enumerate(words.PART_WORDS.items())
        ]
        device = check.device
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

    def _show_advice(self, advice: Sequence[Advice]) -> None:
        clear_layout(self.advice)
        for item in advice:
            made = button("Apply", None, help="Change the form accordingly; Undo takes it back")
            made.setAccessibleName(f"Apply: {sentence(item.change)}")
            made.clicked.connect(lambda *_, patch=item.patch: self._advise(patch))
            texts = column(Label(sentence(item.change), wrap=True), spacing=2)
            if item.saves_bytes > 0:
                texts.addWidget(muted(f"saves {format_bytes(item.saves_bytes)}"))
            line = row(texts, made)
            line.setStretch(0, 1)
            self.advice.addLayout(line)

    def _show_autos(self, autos: Sequence[Auto]) -> None:
        self.autos.setVisible(bool(autos))
        clear_layout(self.autos.body)
        for auto in autos:
            value = (
                {True: "on", False: "off"}.get(auto.value, auto.value) if isinstance(auto.value, bool) else auto.value
            )
            name = auto.field.rsplit(".", 1)[-1].replace("_", " ")
            figure = f"{value:g}" if isinstance(value, float) else str(value)
            self.autos.body.addLayout(column(row(Label(name), None, number(figure)), muted(auto.reason), spacing=0))

    def _advise(self, patch: Mapping[str, Any]) -> None:
        self.advised.emit(dict(patch))


class _Figures(QWidget):
    """Rows of name, figure, and a word on it; labels are reused, so nothing flickers."""

    def __init__(self, *, units_below: bool = False) -> None:
        super().__init__()
        self._units_below = units_below  # right-aligned, so that equal units stand in one column
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(GRID)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(3, 1)
        self._rows: list[tuple[QLabel, Label, Label, Label]] = []

    def show_rows(self, rows: Sequence[tuple[str, str, str, str | None]]) -> None:
        while len(self._rows) < len(rows):
            self._add_row()
        for index, labels in enumerate(self._rows):
            for label in labels:
                label.setVisible(index < len(rows))
            if index < len(rows):
                self._fill(labels, rows[index])

    def _add_row(self) -> None:
        labels = (QLabel(), Label("", role="muted"), number(), ElidedLabel("", role="muted"))
        labels[0].setFixedSize(10, 10)
        if self._units_below:
            labels[2].setAlignment(Qt.AlignmentFlag.AlignRight)
        for place, label in enumerate(labels):
            self._grid.addWidget(label, len(self._rows), place)
        self._rows.append(labels)

    @staticmethod
    def _fill(labels: tuple[QLabel, Label, Label, Label], values: tuple[str, str, str, str | None]) -> None:
        name, figure, remark, color = values
        labels[0].setVisible(color is not None)
        if color is not None:
            labels[0].setStyleSheet(f"background: {color}; border-radius: 2px;")
        labels[1].setText(name)
        labels[2].setText(figure)
        labels[2].setAccessibleName(f"{name}: {figure} {remark}")
        labels[3].setText(remark)


def _heading(errors: int, warnings: int) -> str:
    parts = []
    if errors:
        parts.append(f"{errors} problem{'s' if errors != 1 else ''} to solve")
    if warnings:
        parts.append(f"{warnings} warning{'s' if warnings != 1 else ''}")
    return ", ".join(parts)
