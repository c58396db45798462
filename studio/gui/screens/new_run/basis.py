"""What a forecast rests on: a chip beside the heading, sentences below the figures, and a probe to measure instead."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.core.errors import Cancelled, StudioError
from studio.core.forecast import Estimate
from studio.gui.screens.new_run.words import BASIS_WORDS
from studio.gui.tasks import Task
from studio.gui.widgets.buttons import button
from studio.gui.widgets.fields import sentence
from studio.gui.widgets.layout import boxed, column, row
from studio.gui.widgets.notices import ErrorCard, IconLabel, Progress
from studio.gui.widgets.text import Label, muted, plain

SIMULATING = "Simulating…"


class BasisChip(QWidget):
    """``Formula``, and quietly beside it that a better forecast is on its way."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.waiting = muted("", wrap=False)
        self.warning = IconLabel("warning", "close", 16)
        self.word = Label("", role="tag")
        self.setLayout(row(self.waiting, self.warning, self.word))

    def show_basis(self, estimate: Estimate | None) -> None:
        self.word.setVisible(estimate is not None)
        self.warning.setVisible(estimate is not None and bool(estimate.fallback))
        if estimate is None:
            return
        self.word.setText(BASIS_WORDS[estimate.basis][0])
        self.word.setAccessibleName(f"Basis of the forecast: {self.word.text()}")
        self.setToolTip(plain("\n".join((evidence_words(estimate), fallback_words(estimate))).strip()))

    def show_waiting(self, waiting: bool) -> None:
        self.waiting.setText(SIMULATING if waiting else "")


class Evidence(QWidget):
    """Sentences on what the figures rest on, and the button that replaces them by a measurement.

    Signals: ``probe()``.
    """

    probe = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.words = muted("")
        self.fallback = muted("")
        line = row(column(IconLabel("warning", "close", 16), None), self.fallback)
        line.setStretch(1, 1)
        self._fallback_line = boxed(line)
        self.probe_button = button("Probe", self.probe.emit, help="Runs 3 real steps on the device and measures")
        self.progress, self.error = Progress(), ErrorCard()
        probing = row(self.probe_button, self.progress, None)
        probing.setStretch(1, 100)
        self.setLayout(column(self.words, self._fallback_line, probing, self.error))

    def show_basis(self, estimate: Estimate) -> None:
        self.words.setText(evidence_words(estimate))
        self.fallback.setText(fallback_words(estimate))
        self._fallback_line.setVisible(bool(estimate.fallback))

    def start_probe(self, task: Task) -> None:
        """Show that a probe is under way."""
        self.error.hide()
        self.probe_button.setEnabled(False)
        self.progress.start("Probing…", task)

    def end_probe(self, error: StudioError | None = None) -> None:
        """The probe is over; ``error`` says why it measured nothing."""
        self.progress.stop()
        self.probe_button.setEnabled(True)
        if error is not None and not isinstance(error, Cancelled):
            self.error.show_error(error)


def evidence_words(estimate: Estimate) -> str:
    return _full(estimate.evidence or BASIS_WORDS[estimate.basis][1])


def fallback_words(estimate: Estimate) -> str:
    """Why the figures rest on less than they could; empty if they do not."""
    if not estimate.fallback:
        return ""
    return _full(f"Not simulated: {estimate.fallback}" if estimate.basis == "formula" else estimate.fallback)


def _full(text: str) -> str:
    return sentence(text) if text.endswith((".", "!", "?")) else f"{sentence(text)}."
