"""Signs of meaning: always a shape and a word, the colour only helps."""

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.gui import fonts
from studio.gui.theme import theme

Signs = dict[str, tuple[str, str, str]]  # what is shown for a verdict or a run's state: word, token, shape
VERDICTS: Signs = {
    "fits": ("Fits", "fits", "check"),
    "close": ("Close", "close", "triangle"),
    "does not fit": ("Does not fit", "doesnotfit", "cross"),
    "unknown": ("Unknown", "muted", "ring"),
}
STATES: Signs = {
    "draft": ("Draft", "muted", "ring"),
    "queued": ("Queued", "muted", "ring"),
    "starting": ("Starting", "info", "half"),
    "running": ("Running", "info", "dot"),
    "stopping": ("Stopping", "close", "half"),
    "paused": ("Paused", "close", "bars"),
    "completed": ("Completed", "fits", "check"),
    "stopped": ("Stopped", "muted", "square"),
    "failed": ("Failed", "doesnotfit", "cross"),
    "crashed": ("Crashed", "doesnotfit", "triangle"),
}


class Sign(QWidget):
    """A shape and a word; ``set_verdict`` or ``set_state`` choose both."""

    def __init__(self, *, large: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._large = large
        self._word, self._token, self._shape = "", "muted", "ring"
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme().watch(self, Sign._restyle)

    @property
    def word(self) -> str:
        return self._word

    def set_verdict(self, verdict: str) -> None:
        self._set(*VERDICTS[verdict], about="Verdict")

    def set_state(self, state: str) -> None:
        self._set(*STATES[state], about="State")

    def sizeHint(self) -> QSize:
        metrics = QFontMetrics(self._font())
        return QSize(metrics.height() + 8 + metrics.horizontalAdvance(self._word) + 2, metrics.height() + 4)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        color = theme().color(self._token)
        side = QFontMetrics(self._font()).height() * 0.8
        draw_shape(painter, self._shape, QRectF(1, (self.height() - side) / 2, side, side), color)
        painter.setFont(self._font())
        painter.setPen(color)
        painter.drawText(self.rect().adjusted(round(side) + 8, 0, 0, 0), int(Qt.AlignmentFlag.AlignVCenter), self._word)

    def _set(self, word: str, token: str, shape: str, *, about: str) -> None:
        if (word, token, shape) == (self._word, self._token, self._shape):
            return
        self._word, self._token, self._shape = word, token, shape
        self.setAccessibleName(f"{about}: {word}")
        self._restyle()

    def _restyle(self) -> None:
        self.updateGeometry()
        self.update()

    def _font(self) -> QFont:
        return fonts.title_font() if self._large else fonts.body_font(strong=True)


def draw_shape(painter: QPainter, shape: str, box: QRectF, color: QColor) -> None:
    """One of check, cross, triangle, square, ring, dot, half, bars: filled, with its mark cut out."""
    painter.save()
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color)
    ground = theme().color("surface")
    pen = QPen(ground, box.width() / 8, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin)
    if shape in ("check", "dot"):
        painter.drawEllipse(box)
    elif shape in ("cross", "square"):
        painter.drawRoundedRect(box, box.width() / 6, box.width() / 6)
    elif shape == "triangle":
        painter.drawPolygon(QPolygonF(_points(box, (0.5, 0.04), (1, 0.94), (0, 0.94))))
    elif shape == "half":
        painter.drawPie(box, 90 * 16, 180 * 16)
    if shape in ("ring", "half"):
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(color, box.width() / 8))
        inset = box.width() / 16
        painter.drawEllipse(box.adjusted(inset, inset, -inset, -inset))
    if shape == "bars":
        painter.drawRect(QRectF(box.x() + box.width() * 0.15, box.y(), box.width() * 0.25, box.height()))
        painter.drawRect(QRectF(box.x() + box.width() * 0.6, box.y(), box.width() * 0.25, box.height()))
    painter.setPen(pen)
    if shape == "check":
        painter.drawPolyline(QPolygonF(_points(box, (0.27, 0.52), (0.44, 0.69), (0.74, 0.34))))
    elif shape == "cross":
        painter.drawLine(*_points(box, (0.3, 0.3), (0.7, 0.7)))
        painter.drawLine(*_points(box, (0.7, 0.3), (0.3, 0.7)))
    elif shape == "triangle":
        painter.drawLine(*_points(box, (0.5, 0.4), (0.5, 0.62)))
        painter.drawLine(*_points(box, (0.5, 0.79), (0.5, 0.8)))
    painter.restore()


def _points(box: QRectF, *shares: tuple[float, float]) -> list[QPointF]:
    return [QPointF(box.x() + x * box.width(), box.y() + y * box.height()) for x, y in shares]
