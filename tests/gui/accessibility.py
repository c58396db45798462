"""Walks a screen as a screen reader and the Tab key do."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QAbstractScrollArea, QAbstractSpinBox, QComboBox, QWidget


def nameless(screen: QWidget) -> list[str]:
    """Focusable visible widgets without an accessible name."""
    return [
        f"{type(widget).__name__} {widget.objectName()}"
        for widget in screen.findChildren(QWidget)
        if widget.isVisible()
        and widget.focusPolicy() & Qt.FocusPolicy.TabFocus
        and not _is_part(widget)
        and not name(widget)
    ]


def name(widget: QWidget) -> str:
    interface = QAccessible.queryAccessibleInterface(widget)
    return interface.text(QAccessible.Text.Name) if interface else ""


def clashing_mnemonics(screen: QWidget) -> list[str]:
    """Letters that several visible widgets of the screen claim with Alt."""
    seen: dict[str, str] = {}
    clashes = []
    for widget in screen.findChildren(QWidget):
        text = widget.property("text")
        if not widget.isVisible() or not isinstance(text, str) or "&" not in text.replace("&&", ""):
            continue
        letter = text.replace("&&", "").split("&")[1][:1].lower()
        if letter in seen:
            clashes.append(f"{letter}: {seen[letter]} / {text}")
        seen[letter] = text
    return clashes


def too_wide(screen: QWidget, width: int) -> list[str]:
    """Visible widgets that reach beyond ``width``, and tables that scroll sideways."""
    found = []
    for widget in screen.findChildren(QWidget):
        if not widget.isVisible():
            continue
        if (
            isinstance(widget, QAbstractScrollArea)
            and widget.horizontalScrollBar().maximum() > 0
            and widget.accessibleName() in ("Runs", "Models", "Datasets")
        ):
            found.append(f"{widget.accessibleName()} scrolls sideways")
        right = widget.mapTo(screen, widget.rect().topRight()).x()
        if right > width and widget.visibleRegion().boundingRect().width() == widget.width():
            found.append(f"{type(widget).__name__} ends at {right}")
    return found


def _is_part(widget: QWidget) -> bool:
    """Inner widgets of a control, which the control speaks for."""
    parent = widget.parentWidget()
    return isinstance(parent, QComboBox | QAbstractSpinBox) or (
        isinstance(parent, QAbstractScrollArea) and parent.viewport() is widget
    )
