"""A form generated from a JSON schema: basics first, the advanced folded away."""

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.gui.widgets.editors import (
    AUTO,
    CheckEditor,
    ChoiceEditor,
    Editor,
    JsonEditor,
    ListEditor,
    NumberEditor,
    TextEditor,
)
from studio.gui.widgets.fields import FieldGrid, FieldRow
from studio.gui.widgets.layout import Fold, column
from studio.gui.widgets.schema import FieldShape, humanise, is_shown, read_fields


class SchemaForm(QWidget):
    """Fields for a schema below ``path``. Signals: ``edited(path, value)``.

    Args:
        basics: names shown at once, in this order; None: all that the schema does not call advanced.
        hidden: names left out.
        labels: words that replace the schema's.
        editors: editors that replace those the schema asks for.
        also, also_advanced: rows of others that stand among these.
    """

    edited = Signal(str, object)

    def __init__(
        self,
        schema: Mapping[str, Any],
        path: str,
        *,
        basics: Sequence[str] | None = None,
        hidden: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        editors: Mapping[str, Editor] | None = None,
        also: Sequence[FieldRow] = (),
        also_advanced: Sequence[FieldRow] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.path = path
        self._shapes = {shape.name: shape for shape in read_fields(schema) if shape.name not in hidden}
        self.rows = {
            name: make_row(f"{path}.{name}", shape, (labels or {}).get(name, shape.label), (editors or {}).get(name))
            for name, shape in self._shapes.items()
        }
        first = [name for name in basics if name in self.rows] if basics is not None else self._plain_names()
        rest = [name for name in self.rows if name not in first]
        self._basic_grid = FieldGrid([*(self.rows[name] for name in first), *also])
        self._advanced_grid = FieldGrid([*(self.rows[name] for name in rest), *also_advanced])
        self.advanced = Fold("Advanced")
        self.advanced.body.addWidget(self._advanced_grid)
        self._advanced_names = set(rest)
        self.setLayout(column(self._basic_grid, self.advanced))
        self.advanced.setVisible(bool(rest or also_advanced))
        for made in self.rows.values():
            made.edited.connect(self._pass_on)
        self.set_values({})

    def values(self) -> dict[str, Any]:
        """All values, defaults included."""
        return {name: made.value() for name, made in self.rows.items()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show the values; fields that are left out show their defaults. Emits nothing."""
        for name, made in self.rows.items():
            made.set_value(values.get(name, self._shapes[name].default))
        self._refresh_conditions()

    def reveal(self, name: str) -> None:
        """Unfold what hides a field."""
        if name in self._advanced_names:
            self.advanced.set_open(True)

    def _plain_names(self) -> list[str]:
        return [name for name, shape in self._shapes.items() if not shape.advanced]

    def _pass_on(self, path: str, value: object) -> None:
        self._refresh_conditions()
        self.edited.emit(path, value)

    def _refresh_conditions(self) -> None:
        values = self.values()
        changed = False
        for name, made in self.rows.items():
            shown = is_shown(self._shapes[name].when, values)
            changed |= made.shown != shown
            made.set_shown(shown)
        if changed:
            self._basic_grid.rearrange()
            self._advanced_grid.rearrange()


def make_row(path: str, shape: FieldShape, label: str, editor: Editor | None = None) -> FieldRow:
    """A labelled field for a shape."""
    return FieldRow(path, label, make_editor(shape) if editor is None else editor, help=shape.help, unit=shape.unit)


def make_editor(shape: FieldShape) -> Editor:
    """The editor that a field's shape asks for."""
    match shape.kind:
        case "whole" | "number":
            empty = AUTO if shape.auto else None if shape.nullable else ""
            return NumberEditor(whole=shape.kind == "whole", empty=empty, lo=shape.lo, hi=shape.hi, step=shape.step)
        case "choice":
            return ChoiceEditor(_choices(shape))
        case "check":
            return CheckEditor()
        case "list":
            return ListEditor()
        case "text":
            return TextEditor(nullable=shape.nullable)
        case _:
            return JsonEditor()


def _choices(shape: FieldShape) -> list[tuple[Any, str]]:
    first: list[tuple[Any, str]] = [(AUTO, "Auto")] if shape.auto and AUTO not in shape.choices else []
    none: list[tuple[Any, str]] = [(None, "None")] if shape.nullable else []
    words = shape.hints.get("words", {})
    return first + [(value, words.get(value) or _word(value)) for value in shape.choices] + none


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "On" if value else "Off"
    return (
        "Auto"
        if value == AUTO
        else humanise(str(value))
        if str(value).islower() and len(str(value)) > 5
        else str(value)
    )
