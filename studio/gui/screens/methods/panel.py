"""One method: paper, formula, parameters, and what it would train on the chosen model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QComboBox, QFrame, QLineEdit, QWidget

from studio.api import Site
from studio.core.errors import InvalidSpecError, StudioError
from studio.core.units import format_bytes
from studio.gui.backend import Backend
from studio.gui.screens.methods.block import plan_drawing
from studio.gui.screens.methods.diagram import BlockDiagram
from studio.gui.tasks import Debounce, run_task
from studio.gui.theme import GRID
from studio.gui.widgets.layout import Card, Fold, ScrollColumn, clear_layout, column, row
from studio.gui.widgets.notices import ErrorCard
from studio.gui.widgets.schema_form import SchemaForm
from studio.gui.widgets.text import Label, muted, number, title

if TYPE_CHECKING:
    from studio.service.methods import Count, MethodInfo


@dataclass(frozen=True)
class Placed:
    """A method counted and placed on a model."""

    count: "Count"
    sites: tuple[Site, ...]
    chosen: frozenset[str]


class MethodPanel(QFrame):
    """Shows one method; ``placement`` is what the user set."""

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "panel")
        self._backend = backend
        self._info: MethodInfo | None = None
        self._asked = 0
        self.heading, self.summary, self.paper = title(""), Label("", wrap=True), muted("")
        self.formula = number("")
        self.tags = muted("")
        self.error = ErrorCard()
        self.form: SchemaForm | None = None
        self._form_box = column()
        self.model = QComboBox()
        self.model.activated.connect(lambda _: self._count())
        self.where = QLineEdit()
        self._later = Debounce(self, 150, self._count)
        self.where.textChanged.connect(lambda _: self._later.request())
        self.trainable, self.share = number("–", large=True), muted("")
        self.diagram = BlockDiagram()
        self.readme = Label("", wrap=True)
        self.about = Fold("About this method")
        self._build()

    @property
    def method_id(self) -> str:
        return self._info.id if self._info else ""

    def placement(self) -> dict[str, Any]:
        """What a spec says to use the method as set here."""
        info = self._info
        if info is None:
            return {}
        made: dict[str, Any] = {"use": info.id, "params": self.form.values() if self.form else {}}
        if self.where.text().strip():
            made["where"] = self.where.text().strip()
        return made

    def offer_models(self, names: list[str]) -> None:
        """The models a count can be made on."""
        chosen = self.model.currentText()
        self.model.clear()
        self.model.addItems(names)
        if chosen in names:
            self.model.setCurrentText(chosen)
        self._count()

    def show_method(self, info: "MethodInfo") -> None:
        """Another method, with its default parameters."""
        self._info = info
        self.heading.setText(info.title)
        self.summary.setText(info.summary)
        self.paper.setText(info.paper)
        self.formula.setText(info.formula)
        self.formula.setVisible(bool(info.formula))
        self.tags.setText("  ·  ".join(trait_words(info)))
        self.readme.setText(info.readme)
        self.about.setVisible(bool(info.readme))
        clear_layout(self._form_box)
        self.form = SchemaForm(info.params_schema, "params")
        self.form.edited.connect(lambda *_: self._later.request())
        self._form_box.addWidget(self.form)
        self.where.setPlaceholderText(str(info.traits.get("where", "")))
        self.where.setText("")
        self._count()

    def _build(self) -> None:
        scroll = ScrollColumn()
        counted = Card("What it trains")
        model_label, where_label = muted("On &model", wrap=False), muted("W&here", wrap=False)
        model_label.setBuddy(self.model)
        where_label.setBuddy(self.where)
        self.model.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.model.setMaximumWidth(36 * GRID)
        choice = row(model_label, self.model, GRID, where_label, self.where)
        choice.setStretch(4, 1)
        counted.body.addLayout(choice)
        counted.body.addLayout(column(self.trainable, self.share, spacing=0))
        counted.body.addWidget(self.diagram)
        counted.body.addWidget(self.error)
        settings = Card("Parameters")
        settings.body.addLayout(self._form_box)
        self.about.body.addWidget(self.readme)
        head = column(self.heading, self.summary, self.formula, self.paper, self.tags)
        scroll.body.addLayout(head)
        for widget in (counted, settings, self.about):
            scroll.body.addWidget(widget)
        scroll.body.addStretch(1)
        self.setLayout(column(scroll))

    def _count(self) -> None:
        if self._info is None or self.form is None or not self.model.currentText():
            self.trainable.setText("–")
            self.share.setText("add a model to count on" if not self.model.count() else "")
            return
        self._asked += 1
        asked = self._asked
        run_task(
            self,
            place_method,
            self._backend,
            f"library:{self.model.currentText()}",
            self._info,
            self.form.values(),
            self.where.text().strip() or None,
            done=lambda placed: self._show(asked, placed),
            failed=lambda error: self._fail(asked, error),
        )

    def _show(self, asked: int, placed: Placed) -> None:
        if asked != self._asked:
            return
        count = placed.count
        self.error.hide()
        self.trainable.setText(f"{count.trainable:,} parameters")
        self.share.setText(
            f"{count.fraction:.3%} of {count.total:,}, in {count.tensors:,} tensors at {count.sites:,} sites; "
            f"the adapter file has {format_bytes(count.file_bytes)}"
        )
        self.diagram.show_drawing(plan_drawing(placed.sites, placed.chosen))

    def _fail(self, asked: int, error: StudioError) -> None:
        if asked == self._asked:
            self.trainable.setText("–")
            self.share.setText("")
            words = "; ".join(map(str, error.problems)) if isinstance(error, InvalidSpecError) else error.message
            self.error.show_words(words, where=error.where, hint=error.hint)


def place_method(backend: Backend, model: str, info: "MethodInfo", params: dict[str, Any], where: str | None) -> Placed:
    """Count the method on a model, and find the sites it would take."""
    count = backend.count(model, info.id, params, where)
    sites = backend.sites(model)
    chosen = backend.chosen_sites(sites, count.where, tuple(info.traits.get("kinds", ())))
    return Placed(count, tuple(sites), frozenset(chosen))


def trait_words(info: "MethodInfo") -> list[str]:
    """What is true of the method, in words."""
    traits = info.traits
    words = [f"version {info.version}"]
    words.append("can be merged into the weights" if traits.get("mergeable") else "stays beside the weights")
    if traits.get("trains_base"):
        words.append("changes base weights")
    if traits.get("identity_at_init"):
        words.append("starts as the base model")
    words.append(f"learning rate {traits.get('learning_rate', 0):g} unless set")
    return words
