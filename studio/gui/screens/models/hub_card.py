"""Asks which model to download."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFormLayout, QLineEdit, QWidget

from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import Card, row
from studio.gui.widgets.text import Label, muted


class HubCard(Card):
    """Signals: ``wanted(repo, revision)``."""

    wanted = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Download from the hub", parent)
        self.repo = QLineEdit()
        self.repo.setPlaceholderText("ORG/NAME")
        self.repo.returnPressed.connect(self._go)
        self.revision = QLineEdit()
        self.revision.setPlaceholderText("main")
        self.revision.returnPressed.connect(self._go)
        self.problem = Label("", role="error", wrap=True)
        self.problem.hide()
        form = QFormLayout()
        form.setHorizontalSpacing(2 * GRID)
        form.addRow("Mode&l", self.repo)
        form.addRow("Re&vision", self.revision)
        words = muted("Only weights (safetensors), configuration and tokenizer are fetched. Nothing is run.")
        self.body.addWidget(words)
        self.body.addLayout(form)
        self.body.addWidget(self.problem)
        self.body.addLayout(row(None, button("Do&wnload", self._go, icon="download")))

    def _go(self) -> None:
        repo = self.repo.text().strip().removeprefix("hub:")
        well_formed = repo.count("/") == 1 and all(repo.split("/"))
        self.problem.setText(
            "" if well_formed else "Write the model as ORG/NAME, for example HuggingFaceTB/SmolLM2-360M."
        )
        self.problem.setVisible(not well_formed)
        if well_formed:
            self.wanted.emit(repo, self.revision.text().strip())
