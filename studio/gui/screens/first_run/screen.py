"""The welcome screen: fetches a small real model and data, and trains it."""

from collections.abc import Iterator
from typing import Any

from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.core.errors import Cancelled, StudioError
from studio.gui.screens.base import Screen
from studio.gui.tasks import run_task
from studio.gui.theme import GRID
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import Card, ScrollColumn, column, row
from studio.gui.widgets.notices import ErrorCard, IconLabel, Progress
from studio.gui.widgets.text import Label, muted, strong, title

INTRODUCTION = (
    "PET Studio tunes a language model by training a small part of it. It tells you before a run whether it fits, "
    "trains in the background, and keeps every run."
)
STARTER = "Two small models and four datasets: about 200 MB, fetched once, and 20 seconds to convert."
TRAINING = "The model learns which subject a short medical exam question belongs to: about a minute on two CPU cores."
WATCHING = "You land on the Run screen, where the loss falls and the answers get better."


class FirstRunScreen(Screen):
    """One button; each phase of the work shows its progress and can be cancelled."""

    id = "first_run"

    def assemble(self) -> Iterator[None]:
        self.begin = button("Train your first model", self.train, icon="play", role="primary")
        self.skip = button("Skip: I have my own model", self._skip, role="quiet")
        self.network_note = muted("Fetching uses the network, and only when you press the button.")
        self.progress = Progress()
        self.error = ErrorCard()
        card = Card()
        card.setAccessibleName("Your first run")
        steps = self.backend.quickstart_spec().get("train", {}).get("max_steps", "a few")
        for icon, heading, words in (
            ("download", "Fetch the starter pack", STARTER),
            ("run", f"Train for {steps} steps", TRAINING),
            ("chart", "Watch it learn", WATCHING),
        ):
            line = row(column(IconLabel(icon, "accent", 24), None), column(strong(heading), muted(words), spacing=2),
                       spacing=2 * GRID)  # fmt: skip
            line.setStretch(1, 1)
            card.body.addLayout(line)
            card.body.addSpacing(GRID)
        yield
        welcome = title("Welcome to PET Studio")
        introduction = Label(INTRODUCTION, wrap=True)
        footer = row(self.skip, None, self.begin)
        middle = QWidget()
        middle.setMaximumWidth(82 * GRID)
        middle.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        middle.setLayout(column(
            welcome, introduction, card, self.network_note, self.error, self.progress, footer, spacing=2 * GRID,
        ))  # fmt: skip
        scroll = ScrollColumn(margin=4 * GRID)
        scroll.body.addStretch(1)
        centred = row(None, middle, None)
        centred.setStretch(1, 100)
        scroll.body.addLayout(centred)
        scroll.body.addStretch(2)
        self.setLayout(column(scroll))

    def enter(self, argument: Any = None) -> None:
        run_task(self, self.backend.starter_missing, done=self._tell_whether_needed)
        self.begin.setFocus()

    def train(self) -> None:
        """Fetch what is missing, then start the quickstart run."""
        self.error.hide()
        self.begin.setEnabled(False)
        task = run_task(self, self.backend.fetch_starter, done=lambda _pack: self._start(), failed=self._fail,
                        progress=self.progress.report)  # fmt: skip
        self.progress.start("Fetching the starter pack…", task)

    def _start(self) -> None:
        def plan_and_start() -> str:
            return self.backend.start_run(self.backend.quickstart_spec())

        task = run_task(self, plan_and_start, done=self._started, failed=self._fail)
        self.progress.start("Starting the run…", task)

    def _started(self, run_id: str) -> None:
        self.progress.stop()
        self.begin.setEnabled(True)
        self.navigate.emit("run", run_id)

    def _fail(self, error: StudioError) -> None:
        self.progress.stop()
        self.begin.setEnabled(True)
        if not isinstance(error, Cancelled):
            self.error.show_error(error)

    def _skip(self) -> None:
        self.navigate.emit("new_run", None)

    def _tell_whether_needed(self, missing: bool) -> None:
        self.network_note.setText(
            "Fetching uses the network, and only when you press the button."
            if missing
            else "The starter pack is already on this machine; nothing has to be fetched."
        )
