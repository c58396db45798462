"""An editor for a value that is a number or one of a few words."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.gui.widgets.editors import ChoiceEditor, NumberEditor
from studio.gui.widgets.layout import row

NUMBER = "number"


class MixedEditor(QWidget):
    """A choice of words, and a field for the number while that is chosen. Signals: ``edited(value)``."""

    edited = Signal(object)

    def __init__(
        self, choices: Sequence[tuple[Any, str]], first: float, name: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.choice = ChoiceEditor([*choices, (NUMBER, "A number")])
        self.number = NumberEditor(whole=False, empty="")
        self.number.setAccessibleName(f"{name}, number")
        self._first = first
        self.setFocusProxy(self.choice)
        fields = row(self.choice, self.number)
        fields.setStretch(0, 1)
        fields.setStretch(1, 1)
        self.setLayout(fields)
        self.choice.edited.connect(self._choose)
        self.number.edited.connect(self.edited)
        self.number.hide()

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.choice.setAccessibleName(name)

    def value(self) -> Any:
        return self.number.value() if self.choice.value() == NUMBER else self.choice.value()

    def set_value(self, value: Any) -> None:
        """Show a value; a number in its field."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        self.choice.set_value(NUMBER if is_number else value)
        if is_number:
            self.number.set_value(value)
        self.number.setVisible(is_number)

    def _choose(self, value: Any) -> None:
        self.set_value(self._first if value == NUMBER else value)
        self.edited.emit(self.value())
