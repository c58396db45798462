"""The cards of the gallery: a box to compare, title, count, one line of summary, tags and what was checked."""

from typing import Any

from PySide6.QtCore import (
    QEvent,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QPointF,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QFont, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from studio.gui.fonts import body_font, mono_font
from studio.gui.models.records import RECORD_ROLE, Column, RecordTable
from studio.gui.screens.methods.entries import Entry, count_words
from studio.gui.screens.methods.families import badge_words, tag_words
from studio.gui.theme import GRID, theme
from studio.gui.widgets.signs import draw_shape

Index = QModelIndex | QPersistentModelIndex
CHECK = Qt.ItemDataRole.CheckStateRole
PADDING, LINE_GAP, BOX = 12, 3, 16


class EntryTable(RecordTable[Entry]):
    """Entries with a check box each. Signals: ``checks_changed``."""

    checks_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__((Column("Method", Entry.words),), parent)
        self.checked: dict[str, None] = {}  # in the order of checking

    def flags(self, index: Index) -> Qt.ItemFlag:
        entry = index.data(RECORD_ROLE)
        can_check = entry is not None and entry.info is not None
        return super().flags(index) | (Qt.ItemFlag.ItemIsUserCheckable if can_check else Qt.ItemFlag.NoItemFlags)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role != CHECK:
            return super().data(index, role)
        entry = super().data(index, RECORD_ROLE)
        if entry is None or entry.info is None:
            return None
        return Qt.CheckState.Checked if entry.id in self.checked else Qt.CheckState.Unchecked

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role != CHECK or not self.flags(index) & Qt.ItemFlag.ItemIsUserCheckable:
            return False
        key = self.record(index.row()).id
        if Qt.CheckState(value) == Qt.CheckState.Checked:
            self.checked[key] = None
        else:
            self.checked.pop(key, None)
        self.dataChanged.emit(index, index, [CHECK])
        self.checks_changed.emit()
        return True

    def clear_checks(self) -> None:
        self.checked.clear()
        self.dataChanged.emit(self.index(0, 0), self.index(self.rowCount() - 1, 0), [CHECK])
        self.checks_changed.emit()


class EntryDelegate(QStyledItemDelegate):
    """Paints an entry; the box is toggled with the mouse, or Space."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        entry: Entry | None = index.data(RECORD_ROLE)
        if entry is None:
            return
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        _paint_ground(painter, option)
        lines = _lines(option.rect)
        if entry.info is None:
            _paint_shape(painter, "triangle", "doesnotfit", lines[0])
        else:
            _paint_box(painter, lines[0], checked=index.data(CHECK) == Qt.CheckState.Checked)
        title = lines[0].adjusted(BOX + GRID, 0, 0, 0)
        count = count_words(entry)
        room = _paint_right(painter, title, count, mono_font() if entry.trainable is not None else body_font())
        _paint_text(painter, room, entry.title, body_font(strong=True), "text")
        token = "text" if entry.info else "doesnotfit"
        _paint_text(painter, lines[1], entry.summary, body_font(), token)
        if entry.info is not None:
            _paint_text(painter, _paint_badge(painter, lines[2], entry), tag_words(entry.info), body_font(), "muted")
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(20 * GRID, 3 * _line_height() + 2 * LINE_GAP + 3 * GRID)

    def editorEvent(self, event: QEvent, model: Any, option: QStyleOptionViewItem, index: Index) -> bool:
        pressed = isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Space
        clicked = (
            isinstance(event, QMouseEvent)
            and event.type() == QEvent.Type.MouseButtonRelease
            and _box(_lines(option.rect)[0]).adjusted(-GRID, -GRID, GRID, GRID).contains(event.position().toPoint())
        )
        if not (pressed or clicked) or index.data(CHECK) is None:
            return False
        checked = index.data(CHECK) == Qt.CheckState.Checked
        return bool(model.setData(index, Qt.CheckState.Unchecked if checked else Qt.CheckState.Checked, CHECK))


def _line_height() -> int:
    return QFontMetrics(body_font()).height()


def _lines(rect: QRect) -> list[QRect]:
    """The three lines of text of a card."""
    inside = rect.adjusted(GRID // 2 + PADDING, GRID // 4 + GRID, -GRID // 2 - PADDING, 0)
    height = _line_height()
    return [QRect(inside.x(), inside.y() + line * (height + LINE_GAP), inside.width(), height) for line in range(3)]


def _box(line: QRect) -> QRect:
    return QRect(line.x(), line.center().y() - BOX // 2 + 1, BOX, BOX)


def _paint_ground(painter: QPainter, option: QStyleOptionViewItem) -> None:
    state = option.state
    selected = bool(state & QStyle.StateFlag.State_Selected)
    ground = "selected" if selected else "hover" if state & QStyle.StateFlag.State_MouseOver else "surface"
    painter.setPen(QPen(theme().color("accent" if selected else "line"), 1))
    painter.setBrush(theme().color(ground))
    painter.drawRoundedRect(option.rect.adjusted(GRID // 2, GRID // 4, -GRID // 2, -GRID // 4), 8, 8)


def _paint_box(painter: QPainter, line: QRect, *, checked: bool) -> None:
    box = QRectF(_box(line))
    painter.setPen(QPen(theme().color("accent" if checked else "outline"), 1))
    painter.setBrush(theme().color("accent" if checked else "surface"))
    painter.drawRoundedRect(box, 4, 4)
    if checked:
        painter.setPen(QPen(theme().color("on_accent"), 2))
        corners = ((0.25, 0.52), (0.43, 0.7), (0.76, 0.32))
        painter.drawPolyline([QPointF(box.x() + x * BOX, box.y() + y * BOX) for x, y in corners])


def _paint_badge(painter: QPainter, line: QRect, entry: Entry) -> QRect:
    """The badge at the right of a line; what room it leaves."""
    assert entry.info is not None
    words, token, shape = badge_words(entry.info)
    width = QFontMetrics(body_font()).horizontalAdvance(words)
    _paint_text(painter, QRect(line.right() - width, line.y(), width + 1, line.height()), words, body_font(), "muted")
    sign = line.adjusted(line.width() - width - BOX - 4, 0, 0, 0)
    _paint_shape(painter, shape, token, sign)
    return line.adjusted(0, 0, -(width + BOX + 2 * GRID), 0)


def _paint_shape(painter: QPainter, shape: str, token: str, line: QRect) -> None:
    side = BOX * 0.75
    draw_shape(painter, shape, QRectF(line.x(), line.center().y() - side / 2 + 0.5, side, side), theme().color(token))


def _paint_right(painter: QPainter, line: QRect, text: str, font: QFont) -> QRect:
    """A text at the right of a line; what room it leaves."""
    width = QFontMetrics(font).horizontalAdvance(text)
    _paint_text(painter, QRect(line.right() - width, line.y(), width + 1, line.height()), text, font, "muted")
    return line.adjusted(0, 0, -(width + GRID), 0)


def _paint_text(painter: QPainter, line: QRect, text: str, font: QFont, token: str) -> None:
    painter.setFont(font)
    painter.setPen(theme().color(token))
    shown = QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, line.width())
    painter.drawText(line, int(Qt.AlignmentFlag.AlignVCenter), shown)
