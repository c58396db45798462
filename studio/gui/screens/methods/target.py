"""The model that methods are counted on, and the budget that they are sized to."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QWidget

from studio.core.units import format_count
from studio.gui.tasks import Debounce
from studio.gui.theme import GRID
from studio.gui.widgets.editors import NumberEditor
from studio.gui.widgets.layout import row
from studio.gui.widgets.text import muted

BUDGET_HELP = "Trainable parameters to stay within, such as 2e6; sizes such as the rank are solved to meet it."


class Target(QWidget):
    """Signals: ``changed``. ``model`` is a name in the library, empty if there is none."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.models = QComboBox()
        self.models.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.models.setMaximumWidth(32 * GRID)
        self.models.activated.connect(lambda _: self.changed.emit())
        self.editor = NumberEditor(whole=True, empty=None, lo=1)
        self.editor.setPlaceholderText("none")
        self.editor.setFixedWidth(16 * GRID)
        self.editor.setToolTip(BUDGET_HELP)
        self.editor.setAccessibleDescription(BUDGET_HELP)
        self._later = Debounce(self, 300, self._typed)
        self.editor.edited.connect(lambda _: self._later.request())
        model_label, budget_label = muted("On &model", wrap=False), muted("B&udget", wrap=False)
        model_label.setBuddy(self.models)
        budget_label.setBuddy(self.editor)
        self.setLayout(row(model_label, self.models, GRID, budget_label, self.editor))

    @property
    def model(self) -> str:
        return self.models.currentText()

    @property
    def budget(self) -> int | None:
        """The budget; None if there is none, or what is written is no whole number above 0."""
        value = self.editor.value()
        return value if isinstance(value, int) and value > 0 else None

    def offer(self, names: list[str]) -> None:
        """The models there are; the chosen one stays if it is among them."""
        chosen = self.model
        self.models.clear()
        self.models.addItems(names)
        if chosen in names:
            self.models.setCurrentText(chosen)
        self.changed.emit()

    def words(self) -> str:
        """``on smollm2, at most 2.00 M parameters``."""
        if not self.model:
            return "no model to count on"
        budget = f"at most {format_count(self.budget)} parameters" if self.budget else "with its usual size"
        return f"on {self.model}, each {budget}"

    def _typed(self) -> None:
        wrong = self.editor.value() is not None and self.budget is None
        self.editor.setProperty("problem", wrong)
        self.editor.style().unpolish(self.editor)
        self.editor.style().polish(self.editor)
        if not wrong:
            self.changed.emit()
