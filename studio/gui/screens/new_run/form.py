"""The form below the pickers: name and task, data, method, training, limits; problems at their fields."""

from collections.abc import Sequence
from typing import get_args

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QScrollArea, QWidget

from studio.core.plan import Plan
from studio.core.problems import Problem
from studio.core.spec import Task
from studio.gui.screens.new_run.data_form import DataForm
from studio.gui.screens.new_run.draft import Draft
from studio.gui.screens.new_run.method_form import MethodForm
from studio.gui.screens.new_run.train_form import TrainForm
from studio.gui.theme import GRID
from studio.gui.widgets.editors import ChoiceEditor, TextEditor
from studio.gui.widgets.fields import FieldGrid, FieldRow
from studio.gui.widgets.layout import Fold, column

TASK_WORDS = {"sft": "Generate text", "classification": "Classify"}
TASK_HELP = "Generate text (sft): the model learns to answer. Classify: it learns to choose one of the labels."


class RunForm(QWidget):
    """Signals: ``edited(path, value)``, ``add_method()``, ``remove_method(index)``."""

    edited = Signal(str, object)
    add_method = Signal()
    remove_method = Signal(int)

    def __init__(self, draft: Draft, data: DataForm, method: MethodForm, train: TrainForm) -> None:
        super().__init__()
        self._draft = draft
        self.name = FieldRow("name", "Name of the run", TextEditor(), help="How you find it again; any words.")
        tasks = [(task, f"{TASK_WORDS.get(task, task)} ({task})") for task in get_args(Task)]
        self.task = FieldRow("task", "Task", ChoiceEditor(tasks), help=TASK_HELP)
        self.data, self.method, self.train = data, method, train
        basics = FieldGrid([self.name, self.task], columns=2)
        self.setLayout(column(
            basics, self.data, self.method, self.train.train_card, self.train.limits_card, None, spacing=2 * GRID,
        ))  # fmt: skip
        for source in (self.name, self.task, self.data, self.method, self.train):
            source.edited.connect(self.edited)
        self.method.added.connect(self.add_method)
        self.method.removed.connect(self.remove_method)

    def show_draft(self) -> None:
        """Show the draft's values in every field."""
        self.name.set_value(self._draft.get("name", "run"))
        self.task.set_value(self._draft.get("task", "sft"))
        for part in (self.data, self.method, self.train):
            part.show_draft()

    def show_plan(self, plan: Plan | None) -> None:
        self.method.show_plan(plan)
        self.train.show_plan(plan)

    def show_problems(self, problems: Sequence[Problem]) -> None:
        """Each problem at the field it is about, the most severe first."""
        for made in self.rows():
            about = [problem for problem in problems if _concerns(problem.where, made.path)]
            made.set_problem(min(about, key=lambda problem: problem.severity, default=None))

    def reveal(self, path: str, scroll: QScrollArea) -> bool:
        """Unfold, scroll to and focus the field that a problem names; whether there is one."""
        fields = sorted(self.rows(), key=lambda made: len(made.path), reverse=True)
        for made in fields:
            if _concerns(path, made.path) or made.path.startswith(path):
                self._unfold(made)
                scroll.ensureWidgetVisible(made, 0, 4 * GRID)
                made.editor.setFocus()
                return True
        return False

    def name_of(self, path: str) -> str:
        """The label of the field that a problem is about; the path where there is none."""
        fields = sorted(self.rows(), key=lambda made: len(made.path), reverse=True)
        return next((made.words for made in fields if _concerns(path, made.path)), path)

    def rows(self) -> list[FieldRow]:
        return [self.name, self.task, *self.data.rows(), *self.method.rows(), *self.train.rows()]

    @staticmethod
    def _unfold(widget: QWidget) -> None:
        holder = widget.parentWidget()
        while holder is not None:
            if isinstance(holder, Fold):
                holder.set_open(True)
            holder = holder.parentWidget()


def _concerns(where: str, path: str) -> bool:
    return where == path or where.startswith(f"{path}.")
