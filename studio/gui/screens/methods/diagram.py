"""Draws a transformer from its sites and marks where a method sits."""

from PySide6.QtCore import QLineF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.gui.fonts import body_font, mono_font
from studio.gui.screens.methods.block import Box, Drawing, words
from studio.gui.theme import GRID, theme
from studio.gui.widgets.signs import draw_shape

GAP = 2 * GRID
STRIP = 3 * GRID
MOST_CELLS = 96


class BlockDiagram(QWidget):
    """One block in the middle, what lies before and after it at the sides, all layers as a strip below."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._drawing: Drawing | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Diagram of the model and where the method sits")
        theme().watch(self, self.update)

    def show_drawing(self, drawing: Drawing | None) -> None:
        self._drawing = drawing
        self.setAccessibleDescription(words(drawing) if drawing else "")
        self.setToolTip(words(drawing) if drawing else "")
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        tallest = max((len(column) for column in self._columns()), default=1)
        return QSize(72 * GRID, tallest * (self._box_height() + GRID) + STRIP + 6 * GRID)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._drawing is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        columns = self._columns()
        area = QRectF(self.rect()).adjusted(1, 3 * GRID, -1, -(STRIP + 3 * GRID))
        places = self._places(area, columns)
        self._paint_frame(painter, places)
        previous: list[QRectF] = []
        for place, boxes in zip(places, columns, strict=True):
            rects = self._stack(place, len(boxes))
            self._paint_flow(painter, previous, rects)
            for rect, box in zip(rects, boxes, strict=True):
                self._paint_box(painter, rect, box)
            previous = rects
        self._paint_strip(painter)

    def _columns(self) -> list[tuple[Box, ...]]:
        drawing = self._drawing
        if drawing is None:
            return []
        sides = [boxes for boxes in (drawing.before,) if boxes], [boxes for boxes in (drawing.after,) if boxes]
        return [*sides[0], *drawing.block, *sides[1]]

    def _places(self, area: QRectF, columns: list[tuple[Box, ...]]) -> list[QRectF]:
        """Each column as wide as its longest word needs, the rest shared out."""
        metrics = QFontMetrics(body_font(strong=True))
        needed = [max(metrics.horizontalAdvance(box.role) for box in boxes) + 5 * GRID for boxes in columns]
        spare = (area.width() - GAP * (len(columns) - 1) - sum(needed)) / len(columns)
        places, x = [], area.x()
        for width in needed:
            places.append(QRectF(x, area.y(), width + spare, area.height()))
            x += width + spare + GAP
        return places

    def _box_height(self) -> int:
        return self.fontMetrics().height() * 2 + GRID

    def _stack(self, place: QRectF, count: int) -> list[QRectF]:
        height = self._box_height()
        top = place.center().y() - (count * height + (count - 1) * GRID) / 2
        return [QRectF(place.x(), top + i * (height + GRID), place.width(), height) for i in range(count)]

    def _paint_frame(self, painter: QPainter, places: list[QRectF]) -> None:
        """A frame around what is repeated in every layer."""
        drawing = self._drawing
        if drawing is None or not drawing.block:
            return
        first = 1 if drawing.before else 0
        inside = places[first].united(places[first + len(drawing.block) - 1]).adjusted(-GRID, -GRID / 2, GRID, GRID / 2)
        painter.setPen(QPen(theme().color("outline"), 1, Qt.PenStyle.DashLine))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(inside, 8, 8)
        painter.setPen(theme().color("muted"))
        painter.setFont(body_font())
        caption = QRectF(inside.x(), inside.y() - 3 * GRID, inside.width(), 3 * GRID - 2)
        painter.drawText(caption, int(Qt.AlignmentFlag.AlignVCenter), f"Block, repeated {len(drawing.layers)} times")

    def _paint_flow(self, painter: QPainter, sources: list[QRectF], targets: list[QRectF]) -> None:
        painter.setPen(QPen(theme().color("outline"), 1))
        for source in sources:
            for target in targets:
                start, end = source.right(), target.left()
                middle = (start + end) / 2
                painter.drawLine(QLineF(start, source.center().y(), middle, source.center().y()))
                painter.drawLine(QLineF(middle, source.center().y(), middle, target.center().y()))
                painter.drawLine(QLineF(middle, target.center().y(), end, target.center().y()))

    def _paint_box(self, painter: QPainter, rect: QRectF, box: Box) -> None:
        marked = box.chosen > 0
        painter.setPen(QPen(theme().color("accent" if marked else "outline"), 2 if marked else 1))
        painter.setBrush(theme().color("selected" if marked else "surface"))
        painter.drawRoundedRect(rect, 6, 6)
        upper, lower = QRectF(rect), QRectF(rect)
        upper.setBottom(rect.center().y() + 1)
        lower.setTop(rect.center().y() - 1)
        if marked:
            side = self.fontMetrics().height() * 0.6
            draw_shape(
                painter, "check", QRectF(rect.right() - side - 5, rect.y() + 5, side, side), theme().color("accent")
            )
        painter.setFont(body_font(strong=True))
        painter.setPen(theme().color("text"))
        painter.drawText(upper, int(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom), box.role)
        painter.setFont(mono_font())
        painter.setPen(theme().color("text" if marked else "muted"))
        count = f"{box.chosen}/{box.sites}" if marked else f"{box.sites}"
        painter.drawText(lower, int(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop), count)

    def _paint_strip(self, painter: QPainter) -> None:
        """Every layer as a cell; chosen ones are filled."""
        layers = self._drawing.layers[:MOST_CELLS] if self._drawing else ()
        if not layers:
            return
        caption_width = self.fontMetrics().horizontalAdvance("Layers ") + GRID
        top = self.height() - STRIP
        painter.setFont(body_font())
        painter.setPen(theme().color("muted"))
        painter.drawText(QRectF(0, top, caption_width, 2 * GRID), int(Qt.AlignmentFlag.AlignVCenter), "Layers")
        width = min(2.5 * GRID, (self.width() - caption_width - 2) / len(layers))
        for index, used in enumerate(layers):
            cell = QRectF(caption_width + index * width, top + 1, width - 2, 2 * GRID - 2)
            painter.setPen(QPen(theme().color("accent" if used else "outline"), 1))
            painter.setBrush(theme().color("accent") if used else Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(cell, 2, 2)
