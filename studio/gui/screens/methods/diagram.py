"""Draws a transformer from its sites and marks where a method sits."""

from PySide6.QtCore import QLineF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.gui.fonts import body_font, mono_font
from studio.gui.screens.methods.block import Box, Drawing, Frame, words
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
        theme().watch(self, BlockDiagram.update)

    def show_drawing(self, drawing: Drawing | None) -> None:
        self._drawing = drawing
        self.setAccessibleDescription(words(drawing) if drawing else "")
        self.setToolTip(words(drawing) if drawing else "")
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        tallest = max((len(column) for column in self._columns()), default=1)
        boxes = tallest * (self._box_height() + GRID) + self._side_height()
        return QSize(72 * GRID, boxes + 2 * self._frame_room() + STRIP + 6 * GRID)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._drawing is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        columns = self._columns()
        room = self._frame_room()
        area = QRectF(self.rect()).adjusted(1, 3 * GRID + room, -1, -(STRIP + 3 * GRID + self._side_height() + room))
        places = self._places(area, columns)
        inside = self._inside(places)
        self._paint_block(painter, inside)
        for frame in self._drawing.frames:
            self._paint_frame(painter, frame, inside)
        self._paint_side(painter, inside)
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
        self._widen(needed)
        spare = (area.width() - GAP * (len(columns) - 1) - sum(needed)) / len(columns)
        places, x = [], area.x()
        for width in needed:
            places.append(QRectF(x, area.y(), width + spare, area.height()))
            x += width + spare + GAP
        return places

    def _widen(self, needed: list[int]) -> None:
        """Columns that a frame is around need the room of its caption too."""
        drawing = self._drawing
        for frame in drawing.frames if drawing else ():
            first = frame.first + (1 if drawing and drawing.before else 0)
            spanned = range(first, first + frame.last - frame.first + 1)
            caption = self.fontMetrics().horizontalAdvance(_caption(frame)) + 3 * GRID
            missing = caption - sum(needed[place] for place in spanned) - GAP * (len(spanned) - 1)
            for place in spanned:
                needed[place] += max(0, missing) // len(spanned)

    def _box_height(self) -> int:
        return self.fontMetrics().height() * 2 + GRID

    def _stack(self, place: QRectF, count: int) -> list[QRectF]:
        height = self._box_height()
        top = place.center().y() - (count * height + (count - 1) * GRID) / 2
        return [QRectF(place.x(), top + i * (height + GRID), place.width(), height) for i in range(count)]

    def _frame_room(self) -> int:
        """The height of the caption of a frame within the block."""
        return self.fontMetrics().height() + GRID // 2 if self._drawing and self._drawing.frames else 0

    def _side_height(self) -> int:
        return self._box_height() + 2 * GRID if self._drawing and self._drawing.side_network else 0

    def _inside(self, places: list[QRectF]) -> list[QRectF]:
        """The places of the block's own columns."""
        drawing = self._drawing
        if drawing is None:
            return []
        first = 1 if drawing.before else 0
        return places[first : first + len(drawing.block)]

    def _paint_block(self, painter: QPainter, inside: list[QRectF]) -> None:
        """A frame around what is repeated in every layer."""
        drawing = self._drawing
        if drawing is None or not inside:
            return
        room = self._frame_room()
        around = inside[0].united(inside[-1]).adjusted(-GRID, -GRID / 2 - room, GRID, GRID / 2 + room)
        marked = bool(drawing.whole_block)
        pen = (theme().color("accent"), 2) if marked else (theme().color("outline"), 1, Qt.PenStyle.DashLine)
        painter.setPen(QPen(*pen))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(around, 8, 8)
        painter.setPen(theme().color("text" if marked else "muted"))
        painter.setFont(body_font())
        caption = QRectF(around.x(), around.y() - 3 * GRID, around.width(), 3 * GRID - 2)
        trained = f", trained at {drawing.whole_block}" if marked else ""
        painter.drawText(
            caption, int(Qt.AlignmentFlag.AlignVCenter), f"Block, repeated {len(drawing.layers)} times{trained}"
        )

    def _paint_frame(self, painter: QPainter, frame: Frame, inside: list[QRectF]) -> None:
        """A container within the block that something is trained at."""
        room = self._frame_room()
        around = inside[frame.first].united(inside[frame.last]).adjusted(-GRID / 2, -room, GRID / 2, GRID / 2)
        painter.setPen(QPen(theme().color("accent"), 2))
        painter.setBrush(theme().color("selected"))
        painter.drawRoundedRect(around, 8, 8)
        painter.setPen(theme().color("text"))
        painter.setFont(body_font())
        caption = QRectF(around.x() + GRID, around.y(), around.width() - 2 * GRID, room)
        words = QFontMetrics(painter.font()).elidedText(
            _caption(frame), Qt.TextElideMode.ElideRight, round(caption.width())
        )
        painter.drawText(caption, int(Qt.AlignmentFlag.AlignVCenter), words)

    def _paint_side(self, painter: QPainter, inside: list[QRectF]) -> None:
        """A network of its own beside the blocks, which reads what they put out."""
        if self._drawing is None or not self._drawing.side_network or not inside:
            return
        top = self.height() - STRIP - GRID - self._box_height() - GRID / 2
        lane = QRectF(inside[0].x(), top, inside[-1].right() - inside[0].x(), self._box_height())
        painter.setPen(QPen(theme().color("outline"), 1))
        for place in (inside[0], inside[len(inside) // 2], inside[-1]):
            x = place.center().x()
            painter.drawLine(QLineF(x, place.bottom() + GRID / 2 + self._frame_room(), x, lane.y()))
        self._paint_box(painter, lane, Box("side network", 1, 1, "beside the blocks"))

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
        side = self.fontMetrics().height() * 0.6
        word = QFontMetrics(body_font(strong=True)).horizontalAdvance(box.role)
        if marked and rect.width() > word + 2 * (side + 6):
            corner = QRectF(rect.right() - side - 5, rect.y() + 5, side, side)
            draw_shape(painter, "check", corner, theme().color("accent"))
        painter.setFont(body_font(strong=True))
        painter.setPen(theme().color("text"))
        role = QFontMetrics(painter.font()).elidedText(box.role, Qt.TextElideMode.ElideRight, round(rect.width()) - 4)
        painter.drawText(upper, int(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom), role)
        painter.setFont(mono_font())
        painter.setPen(theme().color("text" if marked else "muted"))
        painter.drawText(lower, int(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop), box.note)

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


def _caption(frame: Frame) -> str:
    return f"{frame.role} {frame.note}"
