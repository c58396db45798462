"""What was checked of a method, family by family, folded under how much it is."""

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

from studio.gui.screens.methods.families import badge_words
from studio.gui.widgets.layout import Fold, clear_layout, column
from studio.gui.widgets.text import Label, muted

if TYPE_CHECKING:
    from studio.service.methods import MethodInfo

FAMILY_NAMES = {"llama": "Llama", "bert": "BERT", "t5": "T5", "vit": "ViT", "resnet": "ResNet"}
UNCHECKED = "The conformance kit has not been run on it, or it changed since."


class ChecksFold(Fold):
    """Which checks of the conformance kit the method passes on which model families."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Checks", parent=parent)
        self._lines = column(spacing=4)
        self.body.addLayout(self._lines)

    def show_checks(self, info: "MethodInfo") -> None:
        words = badge_words(info)[0]
        self.set_heading(words if info.checks is None else f"Checked: {words.lower()}")
        clear_layout(self._lines)
        checks = info.checks
        if checks is None:
            self._lines.addWidget(muted(UNCHECKED))
            return
        for family, names in checks.families.items():
            self._lines.addWidget(Label(f"{FAMILY_NAMES.get(family, family)}, {len(names)}", role="strong"))
            self._lines.addWidget(muted(", ".join(names)))
