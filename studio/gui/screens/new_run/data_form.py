"""The data part of the form: format, what becomes prompt and answer, how much is held out."""

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout

from studio.core.facts import DataFacts
from studio.gui.screens.new_run.draft import Draft
from studio.gui.theme import GRID
from studio.gui.widgets.editors import ChoiceEditor, TemplateEditor
from studio.gui.widgets.fields import FieldGrid, FieldRow
from studio.gui.widgets.layout import Card, Fold, clear_layout
from studio.gui.widgets.schema import definition, humanise, read_fields, spec_schema
from studio.gui.widgets.schema_form import SchemaForm, make_row
from studio.gui.widgets.text import muted

if TYPE_CHECKING:
    from studio.datasets.formats import Format

SPLIT_LABELS = {"eval": "Held out for evaluation (rows)", "seed": "Seed of the split"}
TEMPLATE_HELP = "A column's name, or a text with columns in braces, such as: Question: {question}?"


class DataForm(Card):
    """Signals: ``edited(path, value)``."""

    edited = Signal(str, object)

    def __init__(self, draft: Draft, formats: "dict[str, Format]") -> None:
        super().__init__("Data")
        self._draft, self._formats = draft, formats
        self._facts: DataFacts | None = None
        schema = spec_schema()
        split = {
            shape.name: make_row(f"data.split.{shape.name}", shape, SPLIT_LABELS[shape.name])
            for shape in read_fields(definition(schema, "Split"))
        }
        self._split_defaults = {shape.name: shape.default for shape in read_fields(definition(schema, "Split"))}
        self.split = split
        self.options = SchemaForm(
            definition(schema, "DataRef"), "data", basics=("format", "max_length"), hidden=("source", "columns"),
            labels={"max_length": "Longest row (tokens)", "max_rows": "Use only (rows)"},
            also=[split["eval"]], also_advanced=[split["seed"]],
        )  # fmt: skip
        self.columns: dict[str, FieldRow] = {}
        self._column_words = muted()
        self._columns_box = QVBoxLayout()
        self._columns_box.setSpacing(GRID)
        self.mapping = Fold("Columns")
        self.mapping.body.addWidget(self._column_words)
        self.mapping.body.addLayout(self._columns_box)
        for widget in (self.options, self.mapping):
            self.body.addWidget(widget)
        self.options.edited.connect(self._option_edited)
        for made in split.values():
            made.edited.connect(self.edited)

    def show_draft(self) -> None:
        values = self._draft.part("data")
        self.options.set_values(values)
        split = values.get("split")
        written = split if isinstance(split, dict) else {}
        for name, made in self.split.items():
            made.set_value(written.get(name, self._split_defaults[name]))
        self._show_columns()

    def set_facts(self, facts: DataFacts | None) -> None:
        """What the chosen dataset is like."""
        self._facts = facts
        self._show_columns()

    def rows(self) -> list[FieldRow]:
        return [*self.options.rows.values(), *self.split.values(), *self.columns.values()]

    def _option_edited(self, path: str, value: Any) -> None:
        self.edited.emit(path, value)
        if path == "data.format":
            self._show_columns()

    def _format(self) -> str:
        chosen = self._draft.get("data.format", "auto")
        return str(chosen if chosen != "auto" else self._facts.format if self._facts else "")

    def _show_columns(self) -> None:
        entry = self._formats.get(self._format())
        roles = entry.roles if entry is not None else ()
        if tuple(self.columns) != roles:
            self._rebuild(entry)
        detected = self._facts.mapping if self._facts and self._facts.format == self._format() else {}
        written = self._draft.get("data.columns")
        mapping = written if isinstance(written, dict) else detected
        for role, made in self.columns.items():
            made.set_value(mapping.get(role, ""))
        names = ", ".join(self._facts.columns) if self._facts else ""
        self._column_words.setText(f"This dataset has the columns {names}." if names else "Choose a dataset first.")
        self.mapping.set_heading("Columns" if isinstance(written, dict) else "Columns, as detected")

    def _rebuild(self, entry: "Format | None") -> None:
        clear_layout(self._columns_box)
        self.columns = {}
        for role in entry.roles if entry else ():
            editor = self._column_editor(role in entry.structured) if entry else TemplateEditor()
            made = FieldRow(f"data.columns.{role}", humanise(role), editor, help=TEMPLATE_HELP)
            made.edited.connect(self._column_edited)
            self.columns[role] = made
        self._columns_box.addWidget(FieldGrid(list(self.columns.values()), columns=2))

    def _column_editor(self, structured: bool) -> ChoiceEditor | TemplateEditor:
        if structured and self._facts:
            return ChoiceEditor([(name, name) for name in self._facts.columns])
        return TemplateEditor(lines=3)

    def _column_edited(self, _path: str, _value: Any) -> None:
        """A change of one role writes all of them: a partly written mapping would lose the detected rest."""
        mapping = {role: made.value() for role, made in self.columns.items() if made.value()}
        self.edited.emit("data.columns", mapping)
        self.mapping.set_heading("Columns")
