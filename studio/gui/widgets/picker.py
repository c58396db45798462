"""A card that names what is chosen, and opens a searchable list of what could be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPersistentModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import (
    QDragEnterEvent,
    QDropEvent,
    QFontMetrics,
    QKeyEvent,
    QPainter,
    QStandardItem,
    QStandardItemModel,
)
from PySide6.QtWidgets import (
    QFrame,
    QListView,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from studio.core.problems import Problem
from studio.gui import fonts
from studio.gui.theme import GRID, theme
from studio.gui.widgets.buttons import button
from studio.gui.widgets.fields import in_words
from studio.gui.widgets.layout import column, row
from studio.gui.widgets.notices import IconLabel
from studio.gui.widgets.search import SearchField
from studio.gui.widgets.text import ElidedLabel, Label

_CHOICE = Qt.ItemDataRole.UserRole + 1


@dataclass(frozen=True)
class Choice:
    """One thing to pick: its key, its name and one line of facts."""

    key: str
    name: str
    facts: str = ""
    words: str = ""  # more words that the search finds it by


class Picker(QWidget):
    """Signals: ``picked(key)``, ``dropped(path)``. ``extras`` are buttons under the list, such as "Add…"."""

    picked = Signal(str)
    dropped = Signal(str)

    def __init__(
        self,
        caption: str,
        icon: str,
        extras: Sequence[tuple[str, Callable[[], object]]] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._caption = caption
        self._choices: tuple[Choice, ...] = ()
        self._key = ""
        self.card = QPushButton()
        self.card.setProperty("role", "picker")
        self.card.setAutoDefault(False)
        self.card.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._name = ElidedLabel("Choose…", role="strong")
        self._facts = ElidedLabel("", role="muted")
        texts = column(Label(caption, role="muted"), self._name, self._facts, spacing=2)
        inside = row(column(IconLabel(icon), None), texts, column(None, IconLabel("chevron_down", size=16), None))
        inside.setContentsMargins(12, 10, 12, 10)
        inside.setStretch(1, 1)
        self.card.setLayout(inside)
        for label in self.card.findChildren(QWidget):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.note = Label("", role="error", wrap=True)
        self.note.hide()
        self.setLayout(column(self.card, self.note, None, spacing=4))
        self.popup = _Popup(caption, extras, self)
        self.popup.picked.connect(self._pick)
        self.card.clicked.connect(lambda *_: self.open())
        self._fit()
        theme().watch(self, Picker._fit)
        self._describe()

    @property
    def key(self) -> str:
        return self._key

    def set_choices(self, choices: Sequence[Choice]) -> None:
        self._choices = tuple(choices)
        self.popup.set_choices(self._choices)
        self.set_key(self._key)

    def set_loading(self) -> None:
        """The choices are on their way, unless there are some already."""
        if not self._choices:
            self._name.setText("Loading…")

    def set_key(self, key: str) -> None:
        """Show what is chosen; a key that is not in the list is shown as it is."""
        self._key = key
        chosen = next((choice for choice in self._choices if choice.key == key), None)
        self._name.setText(chosen.name if chosen else key.partition(":")[2] or key or "Choose…")
        self._facts.setText(chosen.facts if chosen else "")
        self._describe()

    def set_problem(self, problem: Problem | None) -> None:
        self.note.setText("" if problem is None else in_words(problem))
        self.note.setVisible(problem is not None)
        self.card.setProperty("problem", problem is not None and problem.severity == "error")
        self.card.style().unpolish(self.card)
        self.card.style().polish(self.card)
        self._describe()

    def open(self, anchor: QWidget | None = None) -> None:
        """Open the list under the card, or under ``anchor``."""
        self.popup.open_below(anchor or self.card, self._key)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if _dropped_path(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        if path := _dropped_path(event):
            event.acceptProposedAction()
            self.dropped.emit(path)

    def _pick(self, key: str) -> None:
        if key != self._key:
            self.set_key(key)
            self.picked.emit(key)

    def _describe(self) -> None:
        self.card.setAccessibleName(f"{self._caption}: {self._name.text()}")
        self.card.setAccessibleDescription(self.note.text() or self._facts.text() or "Opens a list to choose from")

    def _fit(self) -> None:
        line = QFontMetrics(fonts.body_font()).height()
        self.card.setMinimumHeight(3 * line + 28)


class _Popup(QFrame):
    picked = Signal(str)

    def __init__(self, caption: str, extras: Sequence[tuple[str, Callable[[], object]]], parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setProperty("role", "card")
        self._choices: tuple[Choice, ...] = ()
        self.search = SearchField(f"Search {caption.lower()}")
        self.list = QListView()
        self.list.setAccessibleName(caption)
        self.list.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setItemDelegate(ChoiceDelegate(self.list))
        self._model = QStandardItemModel(self)
        self.list.setModel(self._model)
        self.nothing = Label("Nothing here yet", role="muted")
        buttons = row(*(button(text, self._closing(run), icon="add") for text, run in extras), None)
        self.setLayout(column(self.search, self.nothing, self.list, buttons, margin=GRID))
        self.search.textChanged.connect(self._fill)
        self.search.returnPressed.connect(self._accept)
        self.search.installEventFilter(self)
        self.list.clicked.connect(lambda _index: self._accept())
        self.list.activated.connect(lambda _index: self._accept())

    def set_choices(self, choices: Sequence[Choice]) -> None:
        self._choices = tuple(choices)
        self._fill(self.search.text())

    def open_below(self, anchor: QWidget, key: str) -> None:
        width = max(anchor.width(), 52 * GRID)
        corner = anchor.mapToGlobal(anchor.rect().bottomLeft())
        screen = anchor.screen().availableGeometry()
        self.resize(width, 48 * GRID)
        x = max(screen.left(), min(corner.x(), screen.right() - width))
        y = max(screen.top(), min(corner.y() + 4, screen.bottom() - self.height()))
        self.move(x, y)
        self.search.clear()
        self._fill("")
        for index, choice in enumerate(self._choices):
            if choice.key == key:
                self._select(index)
        self.show()
        self.search.setFocus()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            step = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}.get(Qt.Key(event.key()))
            if step is not None and self._model.rowCount():
                self._select((self.list.currentIndex().row() + step) % self._model.rowCount())
                return True
        return super().eventFilter(watched, event)

    def _fill(self, text: str) -> None:
        words = text.lower().split()
        self._model.clear()
        for choice in self._choices:
            haystack = f"{choice.name} {choice.facts} {choice.words}".lower()
            if all(word in haystack for word in words):
                item = QStandardItem(choice.name)
                item.setData(choice, _CHOICE)
                item.setAccessibleDescription(choice.facts)
                self._model.appendRow(item)
        found = self._model.rowCount()
        self.nothing.setText("Nothing has these words" if self._choices else "Nothing here yet")
        self.nothing.setVisible(not found)
        if found:
            self._select(0)

    def _select(self, row_: int) -> None:
        self.list.setCurrentIndex(self._model.index(row_, 0))

    def _accept(self) -> None:
        choice = self.list.currentIndex().data(_CHOICE)
        if isinstance(choice, Choice):
            self.hide()
            self.picked.emit(choice.key)

    def _closing(self, run: Callable[[], object]) -> Callable[[], object]:
        def close_and_run() -> None:
            self.hide()
            run()

        return close_and_run


def _dropped_path(event: QDropEvent) -> str:
    """The one local file or folder being dragged, else empty."""
    paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
    return paths[0] if len(paths) == 1 else ""


class ChoiceDelegate(QStyledItemDelegate):
    """A name over a line of facts."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(20 * GRID, 2 * QFontMetrics(fonts.body_font()).height() + 2 * GRID)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        choice = index.data(_CHOICE)
        box: QRect = option.rect
        state: QStyle.StateFlag = option.state
        chosen = bool(state & QStyle.StateFlag.State_Selected)
        hovered = bool(state & QStyle.StateFlag.State_MouseOver)
        if chosen or hovered:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme().color("selected" if chosen else "hover"))
            painter.drawRoundedRect(box.adjusted(2, 1, -2, -1), 6, 6)
        inner = box.adjusted(12, GRID, -12, -GRID)
        for font, color, text, half in (
            (fonts.body_font(strong=True), "text", choice.name, 0),
            (fonts.body_font(), "muted", choice.facts, 1),
        ):
            line = QRect(inner.x(), inner.y() + half * inner.height() // 2, inner.width(), inner.height() // 2)
            painter.setFont(font)
            painter.setPen(theme().color(color))
            words = QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, inner.width())
            painter.drawText(line, int(Qt.AlignmentFlag.AlignVCenter), words)
