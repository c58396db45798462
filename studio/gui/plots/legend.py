"""The key of a plot: for each curve a sample of its line, its name and its last value."""

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.gui.fonts import body_font, mono_font
from studio.gui.theme import theme

SAMPLE = 20
GAP = 16


@dataclass(frozen=True)
class LegendEntry:
    """One curve; ``value`` is empty where there is none."""

    title: str
    value: str
    color: QColor
    dash: Qt.PenStyle
    dots: bool


class Legend(QWidget):
    """Right-aligned entries, a lone curve's value without its name; what does not fit is left out, values first."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: tuple[LegendEntry, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def set_entries(self, entries: tuple[LegendEntry, ...]) -> None:
        if entries != self._entries:
            self._entries = entries
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(0, QFontMetrics(body_font()).height() + 4)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        with_values = sum(map(self._width, self._entries)) + GAP * (len(self._entries) - 1) <= self.width()
        entries = self._entries if with_values else tuple(_without_value(entry) for entry in self._entries)
        x = float(self.width())
        for entry in reversed(entries):
            width = self._width(entry)
            if x - width < 0:
                return
            self._paint_entry(painter, x - width, entry)
            x -= width + GAP

    def _width(self, entry: LegendEntry) -> float:
        words = QFontMetrics(body_font()).horizontalAdvance(entry.title)
        value = QFontMetrics(mono_font()).horizontalAdvance(f" {entry.value}") if entry.value else 0
        return (SAMPLE + 6 if entry.title else 0) + words + value

    def _paint_entry(self, painter: QPainter, x: float, entry: LegendEntry) -> None:
        if entry.title:
            x = self._paint_sample(painter, x, entry)
        align = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.setFont(body_font())
        painter.setPen(theme().color("muted"))
        words = QFontMetrics(painter.font()).horizontalAdvance(entry.title)
        painter.drawText(QRectF(x, 0, words + 4, self.height()), align, entry.title)
        if entry.value:
            painter.setFont(mono_font())
            painter.setPen(theme().color("text"))
            painter.drawText(QRectF(x + words, 0, self.width(), self.height()), align, f" {entry.value}")

    def _paint_sample(self, painter: QPainter, x: float, entry: LegendEntry) -> float:
        middle = self.height() / 2
        painter.setPen(QPen(entry.color, 2, entry.dash))
        painter.drawLine(QPointF(x, middle), QPointF(x + SAMPLE, middle))
        if entry.dots:
            painter.setPen(QPen(entry.color, 1.5))
            painter.setBrush(theme().color("surface"))
            painter.drawEllipse(QPointF(x + SAMPLE / 2, middle), 3, 3)
        return x + SAMPLE + 6


def _without_value(entry: LegendEntry) -> LegendEntry:
    return LegendEntry(entry.title, "", entry.color, entry.dash, entry.dots)
