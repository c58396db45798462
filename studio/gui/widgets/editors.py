"""Editors of one value each, with one face: ``value``, ``set_value`` and the signal ``edited(value)``."""

import json
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QWheelEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QPlainTextEdit, QSizePolicy, QWidget

from studio.gui import fonts
from studio.gui.theme import theme

AUTO = "auto"


class TextEditor(QLineEdit):
    """A line of text; ``nullable``: empty means None; ``empty`` says what an empty line means."""

    edited = Signal(object)

    def __init__(self, *, nullable: bool = False, empty: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._nullable = nullable
        self.setPlaceholderText(empty)
        self.textEdited.connect(lambda _text: self.edited.emit(self.value()))

    def value(self) -> Any:
        return None if self._nullable and not self.text() else self.text()

    def set_value(self, value: Any) -> None:
        if value != self.value():
            self.setText("" if value is None else str(value))


class NumberEditor(QLineEdit):
    """A number as people write it (4096, 2e-4); empty means ``empty`` (auto or None); arrow keys step.

    Text that is no number is passed on as it is, so that the validation names it like every other problem.
    """

    edited = Signal(object)

    def __init__(
        self, *, whole: bool, empty: Any = None, lo: float | None = None, hi: float | None = None,
        step: float | None = None, parent: QWidget | None = None,
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self._whole, self._empty, self._lo, self._hi, self._step = whole, empty, lo, hi, step
        self._default_hint = "auto" if empty == AUTO else "none" if empty is None else ""
        self.setPlaceholderText(self._default_hint)
        self.textEdited.connect(lambda _text: self.edited.emit(self.value()))
        self._dress()
        theme().watch(self, NumberEditor._dress)

    def value(self) -> Any:
        return self._parse(self.text().strip())

    def set_value(self, value: Any) -> None:
        if value != self.value() or isinstance(value, bool) is not isinstance(self.value(), bool):
            self.setText("" if value == self._empty else _number_text(value))

    def set_resolved(self, value: Any) -> None:
        """Show what auto came to, for as long as the field is empty."""
        known = "" if value is None else f" · {_number_text(value)}"
        self.setPlaceholderText(self._default_hint + known)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        directions = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}
        direction = directions.get(Qt.Key(event.key()))
        value = self.value()
        if direction is None or self._step is None or not isinstance(value, int | float):
            super().keyPressEvent(event)
            return
        self.setText(_number_text(self._bounded(value + direction * self._step)))
        self.edited.emit(self.value())

    def _bounded(self, value: float) -> float:
        low = value if self._lo is None else max(value, self._lo)
        return low if self._hi is None else min(low, self._hi)

    def _parse(self, text: str) -> Any:
        if not text or text == self._empty:
            return self._empty
        try:
            number = float(text.replace("_", ""))
        except ValueError:
            return text
        whole = number.is_integer() and "." not in text
        return int(number) if (self._whole and number.is_integer()) or (whole and "e" not in text.lower()) else number

    def _dress(self) -> None:
        self.setFont(fonts.mono_font())


class ChoiceEditor(QComboBox):
    """One of a few values, each with its word."""

    edited = Signal(object)

    def __init__(self, choices: Sequence[tuple[Any, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._words = [word for _value, word in choices]
        self._values = [value for value, _word in choices]
        self.addItems(self._words)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumContentsLength(6)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.activated.connect(lambda _index: self.edited.emit(self.value()))

    def offer(self, choices: Sequence[tuple[Any, str]]) -> None:
        """Other choices in place of the present ones."""
        self.clear()
        self._words = [word for _value, word in choices]
        self._values = [value for value, _word in choices]
        self.addItems(self._words)

    def value(self) -> Any:
        return self._values[self.currentIndex()]

    def set_value(self, value: Any) -> None:
        for index, known in enumerate(self._values):
            if known == value and type(known) is type(value):
                self.setCurrentIndex(index)
                return
        self._values.append(value)  # what a spec file says is shown, right or wrong; validation tells
        self.addItem(str(value))
        self.setCurrentIndex(self.count() - 1)

    def set_resolved(self, value: Any) -> None:
        if AUTO in self._values:
            index = self._values.index(AUTO)
            known = "" if value is None else f" · {_choice_word(value)}"
            self.setItemText(index, self._words[index] + known)

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()  # scrolling the form must not change it


class CheckEditor(QCheckBox):
    """Yes or no."""

    edited = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.clicked.connect(lambda: self.edited.emit(self.isChecked()))

    def value(self) -> Any:
        return self.isChecked()

    def set_value(self, value: Any) -> None:
        self.setChecked(bool(value))


class ListEditor(TextEditor):
    """Values with commas between them."""

    def value(self) -> Any:
        return [_item(part.strip()) for part in self.text().split(",") if part.strip()]

    def set_value(self, value: Any) -> None:
        if value != self.value():
            self.setText(", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value))


class TemplateEditor(QPlainTextEdit):
    """A few lines of text, such as a prompt template; Tab leaves it."""

    edited = Signal(object)

    def __init__(self, lines: int = 3, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines = lines
        self._silent = False
        self.setTabChangesFocus(True)
        self.textChanged.connect(self._tell)
        self._dress()
        theme().watch(self, TemplateEditor._dress)

    def value(self) -> Any:
        return self.toPlainText()

    def set_value(self, value: Any) -> None:
        if value != self.toPlainText():
            self._silent = True
            self.setPlainText("" if value is None else str(value))
            self._silent = False

    def _tell(self) -> None:
        if not self._silent:
            self.edited.emit(self.value())

    def _dress(self) -> None:
        self.setFont(fonts.mono_font())
        self.setFixedHeight(self.fontMetrics().lineSpacing() * self._lines + 20)


class JsonEditor(TextEditor):
    """Anything else, as JSON; text that is no JSON is passed on as text."""

    def value(self) -> Any:
        try:
            return json.loads(self.text()) if self.text().strip() else None
        except ValueError:
            return self.text()

    def set_value(self, value: Any) -> None:
        if value != self.value():
            self.setText(json.dumps(value))


Editor = TextEditor | NumberEditor | ChoiceEditor | CheckEditor | TemplateEditor


def _number_text(value: Any) -> str:
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:.6g}"
    return str(value)


def _choice_word(value: Any) -> str:
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _item(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
