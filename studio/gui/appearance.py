"""The user's choices of look, from the settings."""

from typing import TYPE_CHECKING

from studio.gui.theme import theme

if TYPE_CHECKING:
    from studio.service.settings import Settings

FONT_SCALES = (0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0)


def dress(settings: "Settings") -> None:
    """Apply theme and text size."""
    theme().apply(settings.theme, settings.font_scale)
