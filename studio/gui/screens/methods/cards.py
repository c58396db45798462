"""The gallery: a list whose entries are cards with a title and a summary."""

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from studio.gui.fonts import body_font
from studio.gui.models.records import RECORD_ROLE, Column
from studio.gui.theme import GRID, theme

if TYPE_CHECKING:
    from studio.service.methods import MethodInfo

Index = QModelIndex | QPersistentModelIndex
SUMMARY_LINES = 2


def method_columns() -> "tuple[Column[MethodInfo], ...]":
    """One column: what a screen reader says of a card."""
    return (Column("Method", lambda info: f"{info.title}. {info.summary}"),)


class MethodDelegate(QStyledItemDelegate):
    """Paints a method as a card."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        info: Any = index.data(RECORD_ROLE)
        shape: Any = option
        if info is None:
            return
        selected = bool(shape.state & QStyle.StateFlag.State_Selected)
        card = shape.rect.adjusted(GRID // 2, GRID // 4, -GRID // 2, -GRID // 4)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        hovered = bool(shape.state & QStyle.StateFlag.State_MouseOver)
        ground = "selected" if selected else "hover" if hovered else "surface"
        painter.setPen(QPen(theme().color("accent" if selected else "line"), 1))
        painter.setBrush(theme().color(ground))
        painter.drawRoundedRect(card, 8, 8)
        text = card.adjusted(12, GRID, -12, -GRID)
        painter.setFont(body_font(strong=True))
        painter.setPen(theme().color("text"))
        height = QFontMetrics(painter.font()).height()
        top = int(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        painter.drawText(QRect(text.x(), text.y(), text.width(), height), top, info.title)
        painter.setFont(body_font())
        painter.setPen(theme().color("text" if selected else "muted"))
        summary = QRect(text.x(), text.y() + height + 4, text.width(), height * SUMMARY_LINES)
        painter.drawText(summary, top | int(Qt.TextFlag.TextWordWrap), info.summary)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        height = QFontMetrics(body_font()).height()
        return QSize(20 * GRID, height * (1 + SUMMARY_LINES) + 4 + 3 * GRID)


def matches(info: "MethodInfo", text: str) -> bool:
    """Whether every word of a search is found in what is known of the method."""
    haystack = f"{info.id} {info.title} {info.summary} {info.paper} {' '.join(info.tags)}".casefold()
    return all(word in haystack for word in text.casefold().split())
