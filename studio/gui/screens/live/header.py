"""The head of the Run screen: name, state, the big loss, progress and the figures that matter."""

from dataclasses import dataclass

from PySide6.QtCore import QEvent, QSize
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QWidget

from studio.gui.theme import GRID
from studio.gui.widgets.layout import boxed, column, row
from studio.gui.widgets.signs import Sign
from studio.gui.widgets.text import ElidedLabel, Label, muted, number

PROGRESS_PARTS = 1000
SPACING = 4 * GRID
LEADING = ("step", "remaining")  # as big as the loss


@dataclass(frozen=True)
class Headline:
    """The words of the head, ready to show. ``progress`` is 0 to 1, None while nobody can tell."""

    state: str
    loss: str
    loss_caption: str
    step: str
    remaining: str
    elapsed: str
    speed: str
    memory: str
    energy: str
    phase: str
    progress: float | None


class RunHeader(QWidget):
    """Shows a ``Headline``; only what differs is repainted."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = ElidedLabel("", role="title")
        self.about = ElidedLabel("", role="muted")
        self.state = Sign(large=True)
        self.loss = Label("–", role="figure")
        self.loss_caption = muted("loss", wrap=False)
        self.phase = muted("", wrap=False)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setRange(0, PROGRESS_PARTS)
        self.bar.setAccessibleName("Progress of the run")
        self._figures = {
            name: Label("–", role="figure") if name in LEADING else number("–", large=True) for name in FIGURES
        }
        self._announced = ""
        self._build()

    def set_title(self, name: str, about: str) -> None:
        """The run's name, and one line on what it trains."""
        self.name.setText(name)
        self.about.setText(about)
        self._announced = ""

    def show_headline(self, line: Headline) -> None:
        """Take in new words."""
        self.state.set_state(line.state)
        self._announce(self.state.word)
        put(self.loss, line.loss)
        put(self.loss_caption, line.loss_caption)
        put(self.phase, line.phase)
        for name, label in self._figures.items():
            put(label, getattr(line, name))
        self._show_progress(line.progress)

    def _announce(self, state: str) -> None:
        """Tell a screen reader of a new state; the state a run is opened in is read with its title."""
        if self._announced and self._announced != state:
            words = f"Run {self.name.text()}: {state}"
            QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self, words))
        self._announced = state

    def _show_progress(self, progress: float | None) -> None:
        top = 0 if progress is None else PROGRESS_PARTS
        if self.bar.maximum() != top:
            self.bar.setRange(0, top)
        if progress is not None:
            value = round(progress * PROGRESS_PARTS)
            if self.bar.value() != value:
                self.bar.setValue(value)

    def _build(self) -> None:
        title = row(column(self.name, self.about, spacing=2), self.state, spacing=2 * GRID)
        title.setStretch(0, 1)
        loss = boxed(column(self.loss, self.loss_caption, spacing=0))
        self._strip = FigureStrip([loss, *(_figure(self._figures[name], words) for name, words in FIGURES.items())])
        self.setLayout(column(title, self._strip, self._progress_row()))

    def _progress_row(self) -> QHBoxLayout:
        made = row(self.bar, self.phase, spacing=2 * GRID)
        made.setStretch(0, 1)
        return made


class FigureStrip(QWidget):
    """Figures side by side; where the width does not suffice, the last ones are left out."""

    def __init__(self, figures: list[QWidget], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._items = figures
        self.setLayout(row(*figures, None, spacing=SPACING))

    def minimumSizeHint(self) -> QSize:
        return QSize(self._items[0].sizeHint().width(), super().minimumSizeHint().height())

    def event(self, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest):
            self._fit()
        return super().event(event)

    def _fit(self) -> None:
        left = self.width()
        for figure in self._items:
            left -= figure.sizeHint().width()
            fits = left >= 0 or figure is self._items[0]
            if figure.isHidden() == fits:
                figure.setVisible(fits)
            left -= SPACING


FIGURES = {
    "step": "step",
    "remaining": "remaining",
    "elapsed": "elapsed",
    "speed": "tokens/s",
    "memory": "memory",
    "energy": "energy",
}


def put(label: QLabel, text: str) -> None:
    """Set a label's text only if it differs, so that nothing is repainted for nothing."""
    if label.text() != text:
        label.setText(text)


def _figure(figure: Label, caption: str) -> QWidget:
    figure.setAccessibleName(caption)
    return boxed(column(None, figure, muted(caption, wrap=False), spacing=0))
