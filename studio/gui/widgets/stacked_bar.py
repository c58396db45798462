"""A bar of memory parts against what the device has free and in total."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from studio.core.units import format_bytes
from studio.gui.theme import GRID, theme


@dataclass(frozen=True)
class Part:
    """One part of the bar; ``color`` is ``#rrggbb``."""

    name: str
    bytes_: int
    color: str


class StackedBar(QWidget):
    """Parts from the left; the band of the forecast, and marks at free and total memory."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._parts: tuple[Part, ...] = ()
        self._low = self._high = 0
        self._free: int | None = None
        self._total: int | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName("Memory forecast")
        theme().watch(self, StackedBar.update)

    def set_forecast(
        self, parts: Sequence[Part], *, low: int, high: int, free: int | None = None, total: int | None = None
    ) -> None:
        self._parts = tuple(part for part in parts if part.bytes_ > 0)
        self._low, self._high, self._free, self._total = low, high, free, total
        self.setAccessibleDescription(self._in_words())
        self.update()

    def clear(self) -> None:
        self.set_forecast((), low=0, high=0)

    def sizeHint(self) -> QSize:
        return QSize(30 * GRID, 5 * GRID)

    def minimumSizeHint(self) -> QSize:
        return QSize(12 * GRID, 5 * GRID)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        bar = self._bar()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme().color("hover"))
        painter.drawRoundedRect(bar, 4, 4)
        for part, box in self._boxes():
            painter.fillRect(box, QColor(part.color))
        if self._high > self._low:
            self._paint_band(painter, bar)
        if self._free is not None:
            self._paint_free(painter, bar, self._free)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme().color("accent"), 2))
            painter.drawRoundedRect(bar.adjusted(-1, -1, 1, 1), 5, 5)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            for part, box in self._boxes():
                if box.contains(event.pos()):
                    QToolTip.showText(event.globalPos(), f"{part.name}: {format_bytes(part.bytes_)}", self)
                    return True
            QToolTip.showText(event.globalPos(), self._in_words(), self)
            return True
        return super().event(event)

    def _bar(self) -> QRectF:
        return QRectF(2, GRID, self.width() - 4, 2.5 * GRID)

    def _scale(self) -> float:
        """Bytes of the whole width."""
        return max(self._total or 0, self._free or 0, self._high, sum(part.bytes_ for part in self._parts), 1) * 1.0

    def _boxes(self) -> list[tuple[Part, QRectF]]:
        bar, x, boxes = self._bar(), self._bar().x(), []
        for part in self._parts:
            width = bar.width() * part.bytes_ / self._scale()
            boxes.append((part, QRectF(x, bar.y(), max(width - 1, 1), bar.height())))
            x += width
        return boxes

    def _paint_band(self, painter: QPainter, bar: QRectF) -> None:
        """The 90 % band as a bracket under the bar."""
        low, high = (bar.x() + bar.width() * value / self._scale() for value in (self._low, self._high))
        y = bar.bottom() + 5
        painter.setPen(QPen(theme().color("text"), 1.5))
        painter.drawLine(round(low), round(y), round(high), round(y))
        for x in (low, high):
            painter.drawLine(round(x), round(y) - 3, round(x), round(y) + 3)

    def _paint_free(self, painter: QPainter, bar: QRectF, free: int) -> None:
        """What others hold is hatched at the right end; its edge is what is free."""
        x = bar.x() + bar.width() * min(free / self._scale(), 1)
        if self._total is not None and self._total > free:
            end = bar.x() + bar.width() * self._total / self._scale()
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme().tokens.outline))
            painter.setOpacity(0.5)
            painter.setBrush(Qt.BrushStyle.BDiagPattern)
            painter.fillRect(QRectF(x, bar.y(), end - x, bar.height()), painter.brush())
            painter.setOpacity(1)
        painter.setPen(QPen(theme().color("text"), 2))
        painter.drawLine(round(x), round(bar.y()) - 4, round(x), round(bar.bottom()) + 1)

    def _in_words(self) -> str:
        words = [f"{part.name} {format_bytes(part.bytes_)}" for part in self._parts]
        if self._free is not None:
            words.append(f"free {format_bytes(self._free)}")
        if self._total is not None:
            words.append(f"total {format_bytes(self._total)}")
        return ", ".join(words) or "no forecast yet"
