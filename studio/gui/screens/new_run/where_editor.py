"""Where a method sits: an expression, and a chip per role of the chosen model that writes it."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPushButton, QWidget

from studio.api import Site
from studio.core.errors import UserError
from studio.gui.screens.new_run.where import RoleChoice, read_roles
from studio.gui.widgets.buttons import chip
from studio.gui.widgets.editors import TextEditor
from studio.gui.widgets.fields import FieldRow
from studio.gui.widgets.flow import FlowLayout
from studio.gui.widgets.layout import clear_layout, column

Select = Callable[[Sequence[Site], str], tuple[Site, ...]]
HELP = "Which positions of the model the method sits on, e.g. role in (q, v) and layer >= 8. Empty: its default."


class WhereEditor(QWidget):
    """Signals: ``edited(path, expression or None)``."""

    edited = Signal(str, object)

    def __init__(self, path: str, default: str, select: Select, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._default, self._select = default, select
        self._sites: tuple[Site, ...] = ()
        self._counts: Counter[str] = Counter()
        self._chips: dict[str, QPushButton] = {}
        self._line = TextEditor(nullable=True)
        self._line.setPlaceholderText(default)
        self.field = FieldRow(path, "Where", self._line, help=HELP)
        self.field.edited.connect(self._typed)
        self._flow = FlowLayout(spacing=6)
        self.setLayout(column(self.field, self._flow))

    def set_sites(self, sites: Sequence[Site], kinds: Sequence[str]) -> None:
        """One chip per role that the method can sit on, with how many sites have it."""
        self._sites = tuple(site for site in sites if site.kind in kinds)
        self._counts = Counter(site.role for site in self._sites)
        clear_layout(self._flow)
        self._chips = {}
        for role in self._counts:
            made = chip(role)
            made.clicked.connect(lambda *_, role=role: self._toggle(role))
            self._chips[role] = made
            self._flow.addWidget(made)
        self._show_roles()
        self.updateGeometry()

    def set_value(self, expression: str | None) -> None:
        self.field.set_value(expression)
        self._show_roles()

    def _expression(self) -> str:
        return self._line.text().strip() or self._default

    def _typed(self, path: str, value: Any) -> None:
        self._show_roles()
        self.edited.emit(path, value)

    def _toggle(self, role: str) -> None:
        """Any other expression is first written as the roles it selects in full."""
        selected = self._selected()
        whole = tuple(name for name, count in self._counts.items() if selected[name] == count)
        chosen = read_roles(self._expression()) or RoleChoice(whole)
        changed = chosen.toggled(role, tuple(self._counts))
        self._line.setText(changed.expression() if changed.roles else "")
        self._typed(self.field.path, self._line.value())

    def _selected(self) -> Counter[str]:
        """How many sites of each role the expression selects; none while it is no valid expression."""
        try:
            return Counter(site.role for site in self._select(self._sites, self._expression()))
        except UserError:  # the validation shows it at the field
            return Counter()

    def _show_roles(self) -> None:
        selected = self._selected()
        for role, made in self._chips.items():
            made.setChecked(selected[role] > 0)
            words = f"{selected[role]} of {self._counts[role]} positions"
            made.setToolTip(words)
            made.setAccessibleName(f"Role {role}: {words}")
