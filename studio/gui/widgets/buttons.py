"""Buttons with a role: one primary per screen, the rest plain, quiet or dangerous."""

from collections.abc import Callable

from PySide6.QtWidgets import QPushButton, QToolButton, QWidget

from studio.gui.icons import set_icon


def button(
    text: str,
    clicked: Callable[[], object] | None = None,
    *,
    icon: str = "",
    role: str = "",
    help: str = "",
    parent: QWidget | None = None,
) -> QPushButton:
    """A push button; ``role`` is "", primary, quiet, danger, link, fold or chip. ``&`` in the text marks its key."""
    result = QPushButton(text, parent)
    result.setProperty("role", role)
    result.setAutoDefault(role == "primary")  # then Return presses it too, not Space alone
    if icon:
        set_icon(result, icon, _icon_token(role))
    if help:
        result.setToolTip(help)
        result.setAccessibleDescription(help)
    if clicked is not None:
        result.clicked.connect(lambda *_: clicked())
    return result


def icon_button(
    icon: str, name: str, clicked: Callable[[], object] | None = None, *, parent: QWidget | None = None
) -> QToolButton:
    """A button that shows only an icon; ``name`` is its accessible name and tool tip."""
    result = QToolButton(parent)
    result.setFocusPolicy(result.focusPolicy().StrongFocus)
    result.setAccessibleName(name)
    result.setToolTip(name)
    set_icon(result, icon)
    if clicked is not None:
        result.clicked.connect(lambda *_: clicked())
    return result


def chip(text: str, *, name: str = "", checked: bool = False, parent: QWidget | None = None) -> QPushButton:
    """A small toggle; ``toggled(bool)`` tells of a change."""
    result = button(text, role="chip", parent=parent)
    result.setCheckable(True)
    result.setChecked(checked)
    if name:
        result.setAccessibleName(name)
    return result


def _icon_token(role: str) -> str:
    return {"primary": "on_accent", "danger": "doesnotfit"}.get(role, "text")
