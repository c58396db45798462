"""The method part of the form: a card per placement, and the budget."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.api import Site
from studio.core.plan import Plan
from studio.gui.screens.new_run.draft import Draft
from studio.gui.screens.new_run.where_editor import Select, WhereEditor
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button, icon_button
from studio.gui.widgets.editors import CheckEditor, NumberEditor
from studio.gui.widgets.fields import FieldGrid, FieldRow
from studio.gui.widgets.layout import Card, clear_layout, column, row
from studio.gui.widgets.mixed_editor import MixedEditor
from studio.gui.widgets.schema_form import SchemaForm
from studio.gui.widgets.text import Label, muted

if TYPE_CHECKING:
    from studio.service.methods import MethodInfo

GATES = [(None, "None"), ("learned", "Learned"), ("input", "Learned from the input")]
GATE_HELP = "A factor on what the method changes: fixed, trained, or computed from what comes in."
EXACT_HELP = "Train exactly the budget: what the sizes leave of it goes to single base weights."
BUDGET_HELP = "Trainable parameters to stay within; sizes such as the rank are then solved to meet it."


class PlacementForm(QWidget):
    """One method at its positions. Signals: ``edited(path, value)``."""

    edited = Signal(str, object)

    def __init__(self, index: int, info: "MethodInfo", select: Select, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.path = f"method.placements.{index}"
        self.info = info
        self.summary = muted(info.summary)
        self.where = WhereEditor(f"{self.path}.where", str(info.traits.get("where", "")), select)
        self.gate = FieldRow(f"{self.path}.gate", "Gate", MixedEditor(GATES, 1.0, "Gate"), help=GATE_HELP)
        self.params = SchemaForm(info.params_schema, f"{self.path}.params", also_advanced=[self.gate])
        self.gate.edited.connect(self.edited)
        self.where.edited.connect(self.edited)
        self.params.edited.connect(self.edited)
        self.setLayout(column(self.summary, self.where, self.params, spacing=2 * GRID))

    def show_values(self, placement: dict[str, Any]) -> None:
        self.where.set_value(placement.get("where"))
        params = placement.get("params")
        self.params.set_values(params if isinstance(params, dict) else {})
        self.gate.set_value(placement.get("gate"))

    def set_sites(self, sites: Sequence[Site]) -> None:
        self.where.set_sites(sites, self.info.traits.get("kinds", ()))


class MethodForm(QWidget):
    """All placements. Signals: ``choose(index)`` asks for another method; ``removed(index)``; ``add()``."""

    added = Signal()
    removed = Signal(int)
    edited = Signal(str, object)

    def __init__(self, draft: Draft, find_method: "Callable[[str], MethodInfo | None]", select: Select) -> None:
        super().__init__()
        self._draft, self._find_method, self._select = draft, find_method, select
        self._sites: tuple[Site, ...] = ()
        self._shown: list[str] = []
        self.placements: list[PlacementForm] = []
        self._counts: list[Label] = []
        self._cards = QVBoxLayout()
        self._cards.setSpacing(2 * GRID)
        self.budget = FieldRow("method.budget", "Budget", NumberEditor(whole=True, empty=None), help=BUDGET_HELP,
                               unit="trainable parameters")  # fmt: skip
        self.exact = FieldRow("method.exact", "Exactly", CheckEditor(), help=EXACT_HELP)
        self.budget.edited.connect(self._budgeted)
        self.exact.edited.connect(self.edited)
        self.add = button("Add another method", self.added.emit, icon="add", role="quiet")
        self.setLayout(
            column(self._cards, FieldGrid([self.budget, self.exact], columns=2), row(self.add, None), spacing=GRID)
        )

    def show_draft(self) -> None:
        """Bring the cards in line with the draft; they are rebuilt only when the methods changed."""
        entries = self._draft.placements()
        names = [str(entry.get("use", "")) for entry in entries]
        if names != self._shown:
            self._rebuild(names)
        for made in self.placements:
            made.show_values(entries[int(made.path.rsplit(".", 1)[1])])
        self.budget.set_value(self._draft.get("method.budget"))
        self.exact.set_value(self._draft.get("method.exact", False))
        self._offer_exact()

    def forget(self) -> None:
        """Rebuild the cards next time: the list of methods has changed."""
        self._shown = []

    def set_sites(self, sites: Sequence[Site]) -> None:
        self._sites = tuple(sites)
        for made in self.placements:
            made.set_sites(self._sites)

    def show_plan(self, plan: Plan | None) -> None:
        for index, label in enumerate(self._counts):
            placed = plan.placements[index] if plan and index < len(plan.placements) else None
            label.setText(f"{placed.trainable:,} parameters at {len(placed.sites)} positions" if placed else "")

    def rows(self) -> list[FieldRow]:
        """All fields, to show problems at."""
        found = [self.budget, self.exact]
        for made in self.placements:
            found += [made.where.field, *made.params.rows.values(), made.gate]
        return found

    def _budgeted(self, path: str, value: object) -> None:
        self._offer_exact()
        self.edited.emit(path, value)

    def _offer_exact(self) -> None:
        """There is nothing to be exact about without a budget; what a spec file says can still be taken back."""
        self.exact.editor.setEnabled(self.budget.value() is not None or bool(self.exact.value()))

    def _rebuild(self, names: list[str]) -> None:
        clear_layout(self._cards)
        self.placements, self._counts, self._shown = [], [], names
        for index, name in enumerate(names):
            info = self._find_method(name)
            if info is not None:
                self._add_card(index, info, several=len(names) > 1)

    def _add_card(self, index: int, info: "MethodInfo", *, several: bool) -> None:
        made = PlacementForm(index, info, self._select)
        made.edited.connect(self.edited)
        made.set_sites(self._sites)
        count = Label("", role="number")
        card = Card()
        card.setAccessibleName(info.title)
        heading = row(Label(info.title, role="strong"), None, count)
        if several:
            heading.addWidget(icon_button("close", f"Remove {info.title}", lambda: self.removed.emit(index)))
        card.body.addLayout(heading)
        card.body.addWidget(made)
        self.placements.append(made)
        self._counts.append(count)
        self._cards.addWidget(card)
