"""A labelled field with room for its error beneath, and a grid that fits as many abreast as the width allows."""

from collections.abc import Sequence
from typing import Any, get_args

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from studio.core.problems import Problem
from studio.core.spec import Task
from studio.gui.theme import GRID
from studio.gui.widgets.editors import CheckEditor, ChoiceEditor, Editor, NumberEditor
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.mixed_editor import MixedEditor
from studio.gui.widgets.notices import IconLabel
from studio.gui.widgets.text import ElidedLabel, Label, plain


class FieldRow(QWidget):
    """Signals: ``edited(path, value)``. ``path`` is the dotted place in the spec, as problems name it."""

    edited = Signal(str, object)

    def __init__(
        self, path: str, label: str, editor: Editor | MixedEditor, *, help: str = "", unit: str = "",
        parent: QWidget | None = None,
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self.path = path
        self.editor = editor
        self.words = f"{label} ({unit})" if unit else label
        self._help = help
        self.shown = True
        self.label = ElidedLabel("" if isinstance(editor, CheckEditor) else self.words, role="muted")
        self.label.setBuddy(editor)
        self.note = Label("", role="error", wrap=True)
        self._sign: IconLabel | None = None  # made for the first problem
        editor.setAccessibleName(self.words)
        for widget in (self.label, editor):
            widget.setToolTip(plain(help or self.words))
        editor.setAccessibleDescription(help)
        if isinstance(editor, CheckEditor):
            editor.setText(self.words)
        self._note_row = row(self.note, spacing=4)
        self._note_row.setStretch(0, 1)
        self.setLayout(column(self.label, editor, self._note_row, None, spacing=4))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        editor.edited.connect(lambda value: self.edited.emit(self.path, value))
        self.set_problem(None)

    def value(self) -> Any:
        return self.editor.value()

    def set_value(self, value: Any) -> None:
        self.editor.set_value(value)

    def set_resolved(self, value: Any) -> None:
        """Show what ``auto`` came to."""
        if isinstance(self.editor, NumberEditor | ChoiceEditor):
            self.editor.set_resolved(value)

    def set_shown(self, shown: bool) -> None:
        """Whether the form shows this field; its grid must be rearranged afterwards."""
        self.shown = shown
        if self.parentWidget() is not None:  # a field of its own would open as a window
            self.setVisible(shown)

    def set_problem(self, problem: Problem | None) -> None:
        """Show a problem under the field, or take it away."""
        text = "" if problem is None else in_words(problem)
        self.note.setText(text)
        self.note.setVisible(bool(text))
        if text and self._sign is None:
            self._sign = IconLabel("error", "doesnotfit", 16)
            self._note_row.insertWidget(0, self._sign, 0, Qt.AlignmentFlag.AlignTop)
        if self._sign is not None:
            self._sign.setVisible(bool(text))
        wrong = problem is not None and problem.severity == "error"
        if bool(self.editor.property("problem")) != wrong:
            self.editor.setProperty("problem", wrong)
            self.editor.style().unpolish(self.editor)
            self.editor.style().polish(self.editor)
        self.editor.setAccessibleDescription(f"Problem: {text}" if text else self._help)


class FieldGrid(QWidget):
    """Fields in as many equal columns as fit; hidden fields leave no gap."""

    def __init__(self, fields: Sequence[FieldRow] = (), *, columns: int = 3, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._fields = list(fields)
        self._most = columns
        self._columns = 0
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(2 * GRID)
        self._grid.setVerticalSpacing(GRID)
        self.rearrange()

    def minimumSizeHint(self) -> QSize:
        return QSize(self._field_width(), super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._fitting() != self._columns:
            self.rearrange()

    def rearrange(self) -> None:
        """Lay the fields out anew, after some were hidden or shown."""
        self._columns = self._fitting()
        for field in self._fields:
            self._grid.removeWidget(field)
        shown = [field for field in self._fields if field.shown]
        for field in self._fields:
            if field not in shown:
                field.setParent(self)
                field.hide()
        for index, field in enumerate(shown):
            self._grid.addWidget(field, index // self._columns, index % self._columns)
        for index in range(self._most):
            self._grid.setColumnStretch(index, 1 if index < self._columns else 0)

    def _fitting(self) -> int:
        return min(self._most, max(1, (self.width() + 2 * GRID) // (self._field_width() + 2 * GRID)))

    def _field_width(self) -> int:
        return self.fontMetrics().averageCharWidth() * 22


def in_words(problem: Problem) -> str:
    """A problem as sentences without its place, which the field shows."""
    return f"{sentence(problem.message)}. {sentence(problem.hint)}" if problem.hint else sentence(problem.message)


def sentence(text: str) -> str:
    """With a capital, unless it begins with a word of the spec, which is written as it is."""
    return text if text.split(" ", 1)[0] in get_args(Task) else text[:1].upper() + text[1:]
