"""What the model wrote for held-out prompts, eval by eval."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QFrame, QWidget

from studio.core.events import Sampled
from studio.core.state import RunSnapshot
from studio.gui.theme import GRID
from studio.gui.widgets.layout import Card, ScrollColumn, clear_layout, column, row
from studio.gui.widgets.notices import EmptyState
from studio.gui.widgets.text import Label, muted

LONGEST_TEXT = 2000


class SamplesView(QWidget):
    """One card per prompt of the chosen eval; follows the newest until another is chosen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._samples: list[Sampled] = []
        self._shown: Sampled | None = None
        self._choice = QComboBox()
        self._choice.setAccessibleName("Which eval's outputs to show")
        self._choice.activated.connect(self._choose)
        label = muted("&After step", wrap=False)
        label.setBuddy(self._choice)
        self._chooser = QFrame()
        self._chooser.setLayout(row(label, self._choice, None))
        self._empty = EmptyState("chart", "No outputs yet", "They appear with the first eval of a text-writing model.")
        self._cards = ScrollColumn(margin=0, spacing=GRID)
        layout = column(self._chooser, self._empty, self._cards)
        layout.setContentsMargins(0, GRID, 0, 0)
        self.setLayout(layout)
        self.apply(RunSnapshot())

    def apply(self, snapshot: RunSnapshot) -> None:
        """Take in the samples so far; nothing is redrawn unless there are new ones."""
        following = self._choice.currentIndex() in (-1, len(self._samples) - 1)
        if snapshot.samples != self._samples or not snapshot.samples:
            self._samples = list(snapshot.samples)
            self._choice.clear()
            self._choice.addItems([f"{sampled.step:,}" for sampled in self._samples])
            if following:
                self._choice.setCurrentIndex(len(self._samples) - 1)
        for widget in (self._chooser, self._cards):
            widget.setVisible(bool(self._samples))
        self._empty.setVisible(not self._samples)
        self._choose(self._choice.currentIndex())

    def _choose(self, index: int) -> None:
        sampled = self._samples[index] if 0 <= index < len(self._samples) else None
        if sampled == self._shown:
            return
        self._shown = sampled
        clear_layout(self._cards.body)
        for sample in sampled.samples if sampled else []:
            self._cards.body.addWidget(_card(sample))
        self._cards.body.addStretch(1)


def _card(sample: dict[str, str]) -> Card:
    card = Card()
    for key, caption in (("prompt", "Prompt"), ("expected", "Expected"), ("output", "Output")):
        if sample.get(key):
            role = "number" if key == "output" else ""
            text = Label(_shortened(sample[key]), role=role, wrap=True)
            text.setAccessibleName(f"{caption}: {text.text()}")
            line = row(_caption(caption), text, spacing=2 * GRID)
            line.setStretch(1, 1)
            card.body.addLayout(line)
    return card


def _caption(text: str) -> Label:
    caption = muted(text, wrap=False)
    caption.setMinimumWidth(9 * GRID)
    caption.setAlignment(Qt.AlignmentFlag.AlignTop)
    return caption


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} …"
