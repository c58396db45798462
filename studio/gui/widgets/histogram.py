"""How often values occur, as bars, with a limit beyond which they are marked."""

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from studio.gui.fonts import mono_font
from studio.gui.theme import GRID, theme

BARS = 40
_FOOT = 3 * GRID  # for the axis


class Histogram(QWidget):
    """Bars of equal width from 0 to the largest value; ``unit`` is what is counted, ``of`` what has it."""

    def __init__(self, unit: str, of: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._unit, self._of = unit, of
        self._counts = np.zeros(0, np.int64)
        self._step = 1
        self._limit: int | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName(f"{unit} of {of}".capitalize())
        theme().watch(self, Histogram.update)

    def set_values(self, values: NDArray[np.int64]) -> None:
        """Show how these are spread."""
        most = int(values.max()) if len(values) else 0
        self._step = _round_step(most / BARS)
        self._counts = np.bincount(values // self._step) if len(values) else np.zeros(0, np.int64)
        self._tell()

    def set_limit(self, limit: int | None) -> None:
        """Mark what is larger."""
        self._limit = limit
        self._tell()

    def sizeHint(self) -> QSize:
        return QSize(50 * GRID, 22 * GRID)

    def minimumSizeHint(self) -> QSize:
        return QSize(24 * GRID, 12 * GRID)

    def bars(self) -> list[tuple[int, int, int]]:
        """Of each bar its least value, its largest, and how many there are."""
        return [(i * self._step, (i + 1) * self._step - 1, int(count)) for i, count in enumerate(self._counts)]

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(mono_font())
        for (low, _, count), box in self._boxes():
            beyond = self._limit is not None and low >= self._limit
            if count:
                painter.fillRect(box, theme().color("close" if beyond else "accent"))
        area = self._area()
        painter.setPen(theme().color("line"))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        self._paint_axis(painter, area)
        if self._limit is not None and self._limit < self._end():
            self._paint_limit(painter, area, self._limit)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme().color("accent"), 2))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 4, 4)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            for (low, high, count), box in self._boxes():
                if box.left() <= event.pos().x() < box.right():
                    QToolTip.showText(
                        event.globalPos(), f"{low:,} to {high:,} {self._unit}: {count:,} {self._of}", self
                    )
                    return True
        return super().event(event)

    def _tell(self) -> None:
        bars = self.bars()
        if bars:
            low, high, _ = max(bars, key=lambda bar: bar[2])
            words = f"Most {self._of} have {low:,} to {high:,} {self._unit}; none has more than {bars[-1][1]:,}."
        else:
            words = "Nothing measured yet."
        self.setAccessibleDescription(words)
        self.update()

    def _end(self) -> int:
        return max(1, len(self._counts)) * self._step

    def _area(self) -> QRectF:
        return QRectF(2 * GRID, GRID, max(self.width() - 4 * GRID, 1), max(self.height() - GRID - _FOOT, 1))

    def _boxes(self) -> list[tuple[tuple[int, int, int], QRectF]]:
        area, bars = self._area(), self.bars()
        most = max((count for _, _, count in bars), default=1) or 1
        width = area.width() / max(len(bars), 1)
        return [
            (bar, QRectF(area.left() + i * width, area.bottom() - area.height() * bar[2] / most, width - 1,
                         area.height() * bar[2] / most))
            for i, bar in enumerate(bars)
        ]  # fmt: skip

    def _paint_axis(self, painter: QPainter, area: QRectF) -> None:
        """Some round values along the foot."""
        painter.setPen(theme().color("muted"))
        step = _round_step(self._end() / 8)
        metrics = painter.fontMetrics()
        for value in range(0, self._end() + 1, step):
            x = area.left() + area.width() * value / self._end()
            text = f"{value:,}"
            left = min(max(x - metrics.horizontalAdvance(text) / 2, 0), self.width() - metrics.horizontalAdvance(text))
            painter.drawText(int(left), int(area.bottom() + metrics.ascent() + 4), text)

    def _paint_limit(self, painter: QPainter, area: QRectF, limit: int) -> None:
        x = area.left() + area.width() * limit / self._end()
        painter.setPen(QPen(theme().color("text"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(int(x), int(area.top()), int(x), int(area.bottom()))


def _round_step(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, … that is not less."""
    step = 1
    while step < least:
        step = int(step * (2.5 if str(step).startswith("2") else 2))
    return step
