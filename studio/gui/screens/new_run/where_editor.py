"""Where a method sits: an expression, and a chip per role of the chosen model that writes it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPushButton, QWidget

from studio.api import Site
from studio.gui.screens.new_run.where import RoleChoice, read_roles
from studio.gui.widgets.buttons import chip
from studio.gui.widgets.editors import TextEditor
from studio.gui.widgets.fields import FieldRow
from studio.gui.widgets.flow import FlowLayout
from studio.gui.widgets.layout import clear_layout, column

HELP = "Which positions of the model the method sits on, e.g. role in (q, v) and layer >= 8. Empty: its default."


class WhereEditor(QWidget):
    """Signals: ``edited(path, expression or None)``."""

    edited = Signal(str, object)

    def __init__(self, path: str, default: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._default = default
        self._roles: tuple[str, ...] = ()
        self._chips: dict[str, QPushButton] = {}
        self._line = TextEditor(nullable=True)
        self._line.setPlaceholderText(default)
        self.field = FieldRow(path, "Where", self._line, help=HELP)
        self.field.edited.connect(self._typed)
        self._flow = FlowLayout(spacing=6)
        self.setLayout(column(self.field, self._flow))

    def set_sites(self, sites: Sequence[Site], kinds: Sequence[str]) -> None:
        """One chip per role that the method can sit on, with how many sites have it."""
        counts = Counter(site.role for site in sites if site.kind in kinds)
        self._roles = tuple(counts)
        clear_layout(self._flow)
        self._chips = {}
        for role, count in counts.items():
            made = chip(role, name=f"Role {role}, {count} positions")
            made.setToolTip(f"{count} position{'s' if count != 1 else ''}")
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
        chosen = read_roles(self._expression()) or RoleChoice(())
        changed = chosen.toggled(role, self._roles)
        self._line.setText(changed.expression() if changed.roles else "")
        self._typed(self.field.path, self._line.value())

    def _show_roles(self) -> None:
        chosen = read_roles(self._expression())
        for role, made in self._chips.items():
            made.setChecked(chosen is not None and role in chosen.roles)
