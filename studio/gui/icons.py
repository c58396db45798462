"""Our own line icons, tinted with the theme's colours when they are loaded."""

from functools import lru_cache

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QAbstractButton

from studio.core.paths import resource
from studio.gui.theme import theme

SIZE = 20  # px of an icon in a button or a row
_SCALES = (1.0, 2.0)
_SHOWN = "icon and token"


def icon(name: str, token: str = "text") -> QIcon:
    """The icon ``resources/icons/NAME.svg`` in a token's colour of the theme in force."""
    return _tinted(name, getattr(theme().tokens, token), theme().tokens.outline)


def set_icon(button: QAbstractButton, name: str, token: str = "text") -> None:
    """Give a button an icon that follows the theme."""
    is_new = button.property(_SHOWN) is None
    button.setProperty(_SHOWN, [name, token])
    button.setIconSize(QSize(SIZE, SIZE))
    _show(button)
    if is_new:
        theme().watch(button, _show)


def _show(button: QAbstractButton) -> None:
    button.setIcon(icon(*button.property(_SHOWN)))


def pixmap(name: str, token: str = "text", size: int = SIZE, scale: float = 1.0) -> QPixmap:
    """The icon as a picture of ``size`` device-independent pixels."""
    return _draw(name, getattr(theme().tokens, token), size, scale)


@lru_cache(maxsize=512)
def _tinted(name: str, color: str, disabled: str) -> QIcon:
    result = QIcon()
    for scale in _SCALES:
        result.addPixmap(_draw(name, color, SIZE, scale), QIcon.Mode.Normal)
        result.addPixmap(_draw(name, disabled, SIZE, scale), QIcon.Mode.Disabled)
    return result


def _draw(name: str, color: str, size: int, scale: float) -> QPixmap:
    picture = QPixmap(_shape(name, size, scale))
    painter = QPainter(picture)
    painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceIn)
    painter.fillRect(picture.rect(), QColor(color))
    painter.end()
    picture.setDevicePixelRatio(scale)
    return picture


@lru_cache(maxsize=512)
def _shape(name: str, size: int, scale: float) -> QPixmap:
    """In black: drawing the lines takes ten times as long as tinting them."""
    picture = QPixmap(round(size * scale), round(size * scale))
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    QSvgRenderer(str(resource(f"icons/{name}.svg"))).render(painter)
    painter.end()
    return picture
