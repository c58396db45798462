"""How rows are read: the format, and which column or template plays which role."""

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.core.facts import DataFacts
from studio.core.problems import Problem
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.editors import ChoiceEditor, TemplateEditor
from studio.gui.widgets.fields import FieldGrid, FieldRow
from studio.gui.widgets.layout import clear_layout, column, row
from studio.gui.widgets.text import muted

if TYPE_CHECKING:
    from studio.datasets.formats import Format

TEMPLATE_HELP = "A column's name, or a text with columns in braces, such as: Question: {question}?"


class MappingForm(QWidget):
    """Signals: ``changed`` after every edit; ``saved`` when the user keeps it; ``reset`` to start over."""

    changed = Signal()
    saved = Signal()
    reset = Signal()

    def __init__(self, formats: "dict[str, Format]", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._formats = formats
        self._facts: DataFacts | None = None
        self.roles: dict[str, FieldRow] = {}
        choices = [(entry.name, f"{entry.name}: {entry.summary}") for entry in formats.values()]
        self.format = FieldRow("data.format", "Format", ChoiceEditor(choices))
        self.format.edited.connect(lambda *_: self._format_edited())
        self._box = QVBoxLayout()
        self._columns = muted("")
        self.save = button("Sa&ve", self.saved.emit, icon="save", help="Keep this format and mapping for the dataset")
        self.undo = button("Re&set", self.reset.emit, icon="undo", help="Back to what is stored")
        self.setLayout(column(self.format, self._columns, self._box, row(None, self.undo, self.save), spacing=GRID))

    def show_facts(self, facts: DataFacts) -> None:
        """What is stored about a dataset."""
        self._facts = facts
        self.format.set_value(facts.format)
        self._columns.setText(f"Columns: {', '.join(facts.columns)}")
        self._rebuild(facts.mapping)
        self._offer()

    def chosen_format(self) -> str:
        return str(self.format.value())

    def mapping(self) -> dict[str, str]:
        """The roles that are filled in."""
        return {role: str(made.value()) for role, made in self.roles.items() if made.value()}

    def show_problems(self, problems: list[Problem]) -> None:
        """Each at its field; a role that has none is cleared."""
        found = {problem.where: problem for problem in problems}
        self.format.set_problem(found.get("data.format"))
        for made in self.roles.values():
            made.set_problem(found.get(made.path))
        self._offer(valid=not problems)

    def _format_edited(self) -> None:
        kept = self.mapping()
        stored = self._facts.mapping if self._facts and self._facts.format == self.chosen_format() else {}
        self._rebuild({**kept, **stored})
        self._edited()

    def _rebuild(self, mapping: dict[str, str]) -> None:
        clear_layout(self._box)
        entry = self._formats.get(self.chosen_format())
        self.roles = {}
        for role in entry.roles if entry else ():
            made = self._field(role, optional=bool(entry and role in entry.optional))
            made.set_value(mapping.get(role, ""))
            made.edited.connect(lambda *_: self._edited())
            self.roles[role] = made
        self._box.addWidget(FieldGrid(list(self.roles.values()), columns=2))

    def _field(self, role: str, *, optional: bool) -> FieldRow:
        entry = self._formats[self.chosen_format()]
        label = role.replace("_", " ").capitalize() + (" (optional)" if optional else "")
        names = self._facts.columns if self._facts else ()
        if role in entry.structured:
            return FieldRow(f"data.columns.{role}", label, ChoiceEditor([(name, name) for name in names]))
        return FieldRow(f"data.columns.{role}", label, TemplateEditor(lines=3), help=TEMPLATE_HELP)

    def _edited(self) -> None:
        self._offer()
        self.changed.emit()

    def _offer(self, *, valid: bool = True) -> None:
        facts = self._facts
        same = facts is not None and (self.chosen_format(), self.mapping()) == (facts.format, facts.mapping)
        self.save.setEnabled(not same and valid)
        self.undo.setEnabled(not same)
