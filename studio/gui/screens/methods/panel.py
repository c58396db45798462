"""One method: paper, formula, parameters, and what it would train on the chosen model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QFrame, QLineEdit, QWidget

from studio.api import Site
from studio.core.errors import InvalidSpecError, StudioError
from studio.core.units import format_bytes
from studio.gui.backend import Backend
from studio.gui.screens.methods.block import Beside, plan_drawing
from studio.gui.screens.methods.checks import ChecksFold
from studio.gui.screens.methods.comparison_rows import export_words, size_words
from studio.gui.screens.methods.diagram import BlockDiagram
from studio.gui.screens.methods.families import SIDE, counted_words, families_of, is_third_party
from studio.gui.tasks import Debounce, run_task
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
        self._model = ""
        self._budget: int | None = None
        self._asked = 0
        self.heading, self.summary, self.paper = title(""), Label("", wrap=True), muted("")
        self.formula = number("")
        self.formula.setWordWrap(True)
        self.tags = muted("")
        self.error = ErrorCard()
        self.form: SchemaForm | None = None
        self._form_box = column()
        self.where = QLineEdit()
        self._later = Debounce(self, 150, self._count)
        self.where.textChanged.connect(lambda _: self._later.request())
        self.trainable, self.share, self.fitted = number("–", large=True), muted(""), muted("")
        self.diagram = BlockDiagram()
        self.readme = Label("", wrap=True)
        self.checks, self.about = ChecksFold(), Fold("About this method")
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

    def set_target(self, model: str, budget: int | None) -> None:
        """The model to count on, empty if there is none, and the budget to stay within."""
        self._model, self._budget = model, budget
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
        self.checks.show_checks(info)
        clear_layout(self._form_box)
        self.form = SchemaForm(info.params_schema, "params")
        self.form.edited.connect(lambda *_: self._later.request())
        self._form_box.addWidget(self.form)
        self._settings.setVisible(bool(self.form.rows))
        self.where.setPlaceholderText(str(info.traits.get("where", "")))
        self.where.setText("")
        self._count()

    def _build(self) -> None:
        scroll = ScrollColumn()
        counted = Card("What it trains")
        where_label = muted("W&here", wrap=False)
        where_label.setBuddy(self.where)
        choice = row(where_label, self.where)
        choice.setStretch(1, 1)
        counted.body.addLayout(column(self.trainable, self.share, self.fitted, spacing=0))
        counted.body.addLayout(choice)
        counted.body.addWidget(self.diagram)
        counted.body.addWidget(self.error)
        self._settings = Card("Parameters")
        self._settings.body.addLayout(self._form_box)
        self.about.body.addWidget(self.readme)
        head = column(self.heading, self.summary, self.formula, self.paper, self.tags)
        scroll.body.addLayout(head)
        for widget in (counted, self._settings, self.checks, self.about):
            scroll.body.addWidget(widget)
        scroll.body.addStretch(1)
        self.setLayout(column(scroll))

    def _count(self) -> None:
        if self._info is None or self.form is None or not self._model:
            self.trainable.setText("–")
            self.share.setText("add a model to count on" if not self._model else "")
            return
        self._asked += 1
        asked = self._asked
        run_task(
            self,
            place_method,
            self._backend,
            f"library:{self._model}",
            self._info,
            self.form.values(),
            self.where.text().strip() or None,
            self._budget,
            done=lambda placed: self._show(asked, placed),
            failed=lambda error: self._fail(asked, error),
        )

    def _show(self, asked: int, placed: Placed) -> None:
        info, count = self._info, placed.count
        if asked != self._asked or info is None:
            return
        self.error.hide()
        self.trainable.setText(f"{count.trainable:,} parameters")
        self.share.setText(
            f"{count.fraction:.3%} of {count.total:,}, in {counted_words(count.tensors, 'tensor')} "
            f"at {counted_words(count.sites, 'site')}; "
            f"the adapter file has {format_bytes(count.file_bytes)}"
        )
        budget = f"Fitted to {self._budget:,}: {size_words(info.params_schema, count.params)}" if self._budget else ""
        self.fitted.setText(budget)
        self.fitted.setVisible(bool(budget))
        beside = Beside(tokens=count.extra_tokens, side_network=SIDE in families_of(info))
        self.diagram.show_drawing(plan_drawing(placed.sites, placed.chosen, beside))

    def _fail(self, asked: int, error: StudioError) -> None:
        if asked == self._asked:
            self.trainable.setText("–")
            self.share.setText("")
            self.fitted.hide()
            self.diagram.show_drawing(None)
            words = "; ".join(map(str, error.problems)) if isinstance(error, InvalidSpecError) else error.message
            self.error.show_words(words, where=error.where, hint=error.hint)


def place_method(
    backend: Backend, model: str, info: "MethodInfo", params: dict[str, Any], where: str | None, budget: int | None
) -> Placed:
    """Count the method on a model; ``chosen`` are the sites with tensors of its own."""
    count = backend.count(model, info.id, params, where, budget)
    return Placed(count, tuple(backend.sites(model)), frozenset(count.paths))


def trait_words(info: "MethodInfo") -> list[str]:
    """What is true of the method, in words."""
    traits = info.traits
    words = [f"version {info.version}", *(["third-party"] if is_third_party(info) else [])]
    words.append("can be merged into the weights" if traits.get("mergeable") else "stays beside the weights")
    if traits.get("trains_base"):
        words.append("changes base weights")
    if traits.get("identity_at_init"):
        words.append("starts as the base model")
    words.append(f"exports: {export_words(info)}")
    words.append(f"learning rate {traits.get('learning_rate', 0):g} unless set")
    return words
