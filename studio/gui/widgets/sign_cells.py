"""Draws a run's state or a forecast's verdict in a table cell as a shape and a word."""

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from studio.gui.theme import theme
from studio.gui.widgets.signs import Signs, draw_shape

Index = QModelIndex | QPersistentModelIndex


class SignDelegate(QStyledItemDelegate):
    """For cells whose text is one of ``signs``: ``VERDICTS`` or ``STATES``."""

    def __init__(self, signs: Signs, parent: QObject) -> None:
        super().__init__(parent)
        self._signs = signs

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        state = index.data()
        self.initStyleOption(option, index)
        option.text = ""
        style = option.widget.style()
        style.drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, option.widget)
        if state not in self._signs:
            return
        word, token, shape = self._signs[state]
        rect = option.rect
        side = option.fontMetrics.height() * 0.75
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(rect.x() + 10, rect.center().y() - side / 2 + 0.5, side, side)
        draw_shape(painter, shape, box, theme().color(token))
        painter.setPen(theme().color("text"))
        painter.drawText(rect.adjusted(round(side) + 18, 0, 0, 0), int(Qt.AlignmentFlag.AlignVCenter), word)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        hint = super().sizeHint(option, index)
        return QSize(hint.width() + 24, hint.height())
