"""Words about how things stand: empty states, waits, errors at their place, and short notes with Undo."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtWidgets import QFrame, QLabel, QProgressBar, QWidget

from studio.core.errors import StudioError
from studio.core.problems import Problem
from studio.gui.icons import pixmap
from studio.gui.tasks import Task
from studio.gui.theme import GRID, theme
from studio.gui.widgets.buttons import button
from studio.gui.widgets.layout import Card, boxed, clear_layout, column, row
from studio.gui.widgets.text import ElidedLabel, Label, muted, sentence, strong


class IconLabel(QLabel):
    """A picture without meaning of its own."""

    def __init__(self, name: str, token: str = "muted", size: int = 20, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name, self._token, self._size = name, token, size
        self._draw()
        theme().watch(self, IconLabel._draw)

    def _draw(self) -> None:
        self.setPixmap(pixmap(self._name, self._token, self._size, max(self.devicePixelRatioF(), 1.0)))


class WarningLine(QWidget):
    """One line of warning, out of sight until it is needed; its whole text is its tool tip."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = ElidedLabel(text, role="muted")
        layout = row(IconLabel("warning", "close", 16), self.text)
        layout.setContentsMargins(12, 0, 12, 4)
        self.setLayout(layout)
        self.hide()

    def show_words(self, text: str) -> None:
        """Warn of this; without words there is nothing to warn of."""
        if text != self.text.text():
            self.text.setText(text)
        self.setVisible(bool(text))


class EmptyState(QWidget):
    """What a list shows when it has nothing: what would be here, and the button that brings it."""

    def __init__(
        self,
        icon: str,
        heading: str,
        advice: str,
        action: str = "",
        clicked: Callable[[], object] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.heading = strong(heading)
        self.advice = muted(advice)
        self.advice.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.advice.setMinimumWidth(45 * GRID)
        self.action = button(action, clicked)
        centre = Qt.AlignmentFlag.AlignHCenter
        box = column(None, spacing=GRID, margin=3 * GRID)
        for widget in (IconLabel(icon, "muted", 32), self.heading, self.advice, self.action):
            box.addWidget(widget, 0, centre)
        box.addStretch(1)
        self.setLayout(box)
        self.action.setVisible(bool(action))


class Progress(QWidget):
    """A wait: appears after 300 ms, can be cancelled after 2 s; ``report`` is a progress callback."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.phase = muted("", wrap=False)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 0)
        self.bar.setAccessibleName("Progress")
        self.cancel = button("Cancel", self._cancel)
        self.setLayout(row(column(self.phase, self.bar, spacing=4), self.cancel))
        self._task: Task | None = None
        self._show_timer = QTimer(self, singleShot=True, interval=300)
        self._show_timer.timeout.connect(self._appear)
        self._cancel_timer = QTimer(self, singleShot=True, interval=2000)
        self._cancel_timer.timeout.connect(lambda: self.cancel.setVisible(self._task is not None))
        self.hide()

    def start(self, phase: str, task: Task | None = None) -> None:
        """Begin; with a task, a Cancel button comes after two seconds."""
        self._task = task
        self.cancel.setEnabled(True)
        self.cancel.hide()
        self.report(phase, None)
        self._show_timer.start()
        self._cancel_timer.start()

    def report(self, phase: str, fraction: float | None = None) -> None:
        self.phase.setText(phase)
        self.bar.setAccessibleDescription(phase)
        self.bar.setRange(0, 0 if fraction is None else 1000)
        if fraction is not None:
            self.bar.setValue(round(fraction * 1000))

    def stop(self) -> None:
        self._task = None
        self._show_timer.stop()
        self._cancel_timer.stop()
        self.hide()

    def _appear(self) -> None:
        self.show()

    def _cancel(self) -> None:
        if self._task is not None:
            self.cancel.setEnabled(False)
            self.phase.setText("Cancelling…")
            self._task.cancel()


class ErrorCard(Card):
    """An error at its place: what, where, what to do, and optionally a button that does it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent)
        self.message = Label("", role="strong", wrap=True)
        self.where = muted("")
        self.hint = Label("", wrap=True)
        self.details = Label("", role="number", wrap=True)
        selectable = Qt.TextInteractionFlag.TextSelectableByMouse
        for label in (self.message, self.where, self.hint, self.details):
            label.setTextInteractionFlags(selectable)
            label.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._buttons = row(None)
        texts = column(self.message, self.where, self.hint, self.details, self._buttons, spacing=4)
        icon = IconLabel("error", "doesnotfit")
        self.body.addLayout(row(column(icon, None), boxed(texts), spacing=2 * GRID))
        self.hide()

    def show_error(self, error: StudioError) -> None:
        self.show_words(error.message, where=error.where, hint=error.hint)

    def show_words(self, message: str, *, where: str = "", hint: str = "", details: str = "") -> None:
        for label, text in (
            (self.message, sentence(message)), (self.where, where),
            (self.hint, sentence(hint)), (self.details, details),
        ):  # fmt: skip
            label.setText(text)
            label.setVisible(bool(text))
        self.setAccessibleName(f"Error: {message}")
        self.show()

    def add_action(self, text: str, clicked: Callable[[], object]) -> None:
        self._buttons.insertWidget(self._buttons.count() - 1, button(text, clicked))


class ProblemNotices(QWidget):
    """What is wrong with entries that a list leaves out: each with its place and the remedy."""

    MOST = 4  # shown at once; a broken disk must not push the list away

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines = column(spacing=4)
        self.setLayout(self._lines)
        self.hide()

    def show_problems(self, problems: Sequence[Problem]) -> None:
        clear_layout(self._lines)
        for problem in problems[: self.MOST]:
            token = "doesnotfit" if problem.severity == "error" else "close"
            self._add_line(_problem_words(problem), token)
        if len(problems) > self.MOST:
            self._add_line(f"{len(problems) - self.MOST} more entries have problems", "muted")
        self.setAccessibleName(f"{len(problems)} problem{'s' if len(problems) != 1 else ''}")
        self.setVisible(bool(problems))

    def _add_line(self, words: str, token: str) -> None:
        text = Label(words, wrap=True)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        text.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        line = row(column(IconLabel("warning", token), None), text)
        line.setStretch(1, 1)
        self._lines.addLayout(line)


class Toast(QFrame):
    """A short note at the bottom of a widget that goes by itself; optionally with one action such as Undo."""

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self._over = over
        self.setProperty("role", "card")
        self.text = Label("")
        self.action = button("")
        self._action: Callable[[], object] | None = None
        self.action.clicked.connect(self._act)
        self.setLayout(row(self.text, self.action, margin=GRID))
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self.hide)
        over.installEventFilter(self)
        self.hide()

    def show_note(
        self, text: str, action: str = "", clicked: Callable[[], object] | None = None, seconds: float = 8
    ) -> None:
        self.text.setText(text)
        self.setAccessibleName(text)
        self.action.setText(action)
        self.action.setVisible(bool(action))
        self._action = clicked
        self.show()
        self.raise_()
        self._place()
        self._timer.start(round(seconds * 1000))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self._place()
        return False

    def _place(self) -> None:
        self.adjustSize()
        over = self._over
        self.move((over.width() - self.width()) // 2, over.height() - self.height() - 3 * GRID)

    def _act(self) -> None:
        self.hide()
        if self._action is not None:
            self._action()


def _problem_words(problem: Problem) -> str:
    hint = f". {sentence(problem.hint)}" if problem.hint else ""
    return f"{problem.where}: {problem.message}{hint}" if problem.where else f"{sentence(problem.message)}{hint}"
