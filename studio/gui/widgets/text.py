"""Labels: plain text only, since names, rows and model cards are untrusted."""

from html import escape

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFont, QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from studio.gui import fonts
from studio.gui.theme import theme


class Label(QLabel):
    """Plain text in one of the two sizes; follows the user's text size."""

    def __init__(self, text: str = "", *, role: str = "", wrap: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._role = role
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(wrap)
        self.setProperty("role", role)
        self._dress()
        theme().watch(self, Label._dress)

    def set_role(self, role: str) -> None:
        """Change what the text means: "" or muted, error, accent, title, strong, number, large-number, figure."""
        self._role = role
        self.setProperty("role", role)
        self.style().unpolish(self)
        self.style().polish(self)
        self._dress()

    def _dress(self) -> None:
        self.setFont(role_font(self._role))


def role_font(role: str) -> QFont:
    match role:
        case "title":
            return fonts.title_font()
        case "strong":
            return fonts.body_font(strong=True)
        case "number":
            return fonts.mono_font()
        case "large-number":
            return fonts.mono_font(strong=True, large=True)
        case "figure":
            return fonts.figure_font()
        case _:
            return fonts.body_font()


def sentence(words: str) -> str:
    """Words as a sentence begins."""
    return words[:1].upper() + words[1:]


def title(text: str) -> Label:
    return Label(text, role="title")


def strong(text: str) -> Label:
    return Label(text, role="strong")


def muted(text: str = "", *, wrap: bool = True) -> Label:
    return Label(text, role="muted", wrap=wrap)


def number(text: str = "", *, large: bool = False) -> Label:
    """A figure that changes: monospaced, so that it does not jitter."""
    label = Label(text, role="large-number" if large else "number")
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return label


class ElidedLabel(Label):
    """One line that ends in an ellipsis where it does not fit; the whole text is its tool tip."""

    def __init__(self, text: str = "", *, role: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, role=role, parent=parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def setText(self, text: str) -> None:
        super().setText(text)
        self.setToolTip(plain(text))

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        shown = QFontMetrics(self.font()).elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(self.rect(), int(self.alignment() | Qt.AlignmentFlag.AlignVCenter), shown)


def plain(text: str) -> str:
    """Text for a tool tip, which Qt would otherwise take for HTML when it looks like it."""
    return f"<qt>{escape(text)}</qt>" if "<" in text else text
