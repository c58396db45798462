"""The training part of the form: name and task, training, limits."""

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.core.facts import DeviceFacts
from studio.core.plan import Plan
from studio.gui.screens.new_run.draft import Draft
from studio.gui.widgets.editors import ChoiceEditor
from studio.gui.widgets.fields import FieldRow
from studio.gui.widgets.layout import Card
from studio.gui.widgets.schema import definition, spec_schema
from studio.gui.widgets.schema_form import SchemaForm

LABELS = {
    "max_steps": "Steps at most",
    "effective_batch": "Effective batch (rows)",
    "micro_batch": "Micro-batch (rows)",
    "eval_every": "Evaluate every (steps)",
    "save_every": "Save every (steps)",
    "early_stopping": "Early stopping (evals)",
    "clip_norm": "Clip gradient norm at",
    "keep_checkpoints": "Checkpoints to keep",
    "checkpointing": "Activation checkpointing",
}
BASICS = ("epochs", "max_steps", "learning_rate", "effective_batch", "precision", "quantization", "device")
LIMIT_LABELS = {"memory_gib": "Memory (GiB)", "hours": "Time (hours)", "watt_hours": "Energy (Wh)"}


class TrainForm(QWidget):
    """Three cards. Signals: ``edited(path, value)``."""

    edited = Signal(str, object)

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self._draft = draft
        schema = spec_schema()
        self.device = ChoiceEditor([("auto", "Automatic")])
        self.train = SchemaForm(
            definition(schema, "TrainSpec"), "train", basics=BASICS, labels=LABELS, editors={"device": self.device}
        )
        self.limits = SchemaForm(definition(schema, "Limits"), "limits", labels=LIMIT_LABELS)
        self.train_card, self.limits_card = Card("Training"), Card("Limits")
        self.train_card.body.addWidget(self.train)
        self.limits_card.body.addWidget(self.limits)
        for form in (self.train, self.limits):
            form.edited.connect(self.edited)

    def offer_devices(self, devices: Sequence[DeviceFacts]) -> None:
        """What the machine has to train on."""
        self.device.offer([("auto", "Automatic"), *((device.id, f"{device.name} ({device.id})") for device in devices)])
        self.device.set_value(self._draft.get("train.device", "auto"))

    def show_draft(self) -> None:
        for form in (self.train, self.limits):
            form.set_values(self._draft.part(form.path))

    def show_plan(self, plan: Plan | None) -> None:
        """What each auto came to, in its field."""
        chosen = {auto.field: auto.value for auto in plan.autos} if plan else {}
        for made in self.rows():
            made.set_resolved(chosen.get(made.path))

    def rows(self) -> list[FieldRow]:
        return [*self.train.rows.values(), *self.limits.rows.values()]
