"""Rows as a model is trained on them, with the trained part marked."""

from typing import TYPE_CHECKING

from PySide6.QtGui import QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from studio.gui.fonts import mono_font
from studio.gui.theme import theme

if TYPE_CHECKING:
    from studio.datasets.preview import PreviewRow

LONGEST_SEGMENT = 4000


class RenderedRows(QPlainTextEdit):
    """Text with what carries loss underlined on a tinted ground: a mark that needs no colour."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setAccessibleName("Rows as the model sees them; the trained part is underlined")
        self.setPlaceholderText("Choose a dataset.")
        self._rows: list[PreviewRow] = []
        theme().watch(self, RenderedRows._draw)

    def show_rows(self, rows: "list[PreviewRow]") -> None:
        self._rows = rows
        self._draw()

    def _draw(self) -> None:
        self.setFont(mono_font())
        place = self.verticalScrollBar().value()
        self.clear()
        cursor = QTextCursor(self.document())
        for row in self._rows:
            self._write(cursor, row)
        self.verticalScrollBar().setValue(place)

    def _write(self, cursor: QTextCursor, row: "PreviewRow") -> None:
        cursor.insertText(f"{heading(row)}\n", _format("muted"))
        if row.error:
            cursor.insertText(f"{row.error}\n\n", _format("doesnotfit"))
            return
        for segment in row.segments:
            text = segment.text if len(segment.text) <= LONGEST_SEGMENT else f"{segment.text[:LONGEST_SEGMENT]} …"
            cursor.insertText(text, _format("text", trained=segment.trained))
        if row.label:
            cursor.insertText("  →  ", _format("muted"))
            cursor.insertText(row.label, _format("text", trained=True))
        cursor.insertText("\n\n", _format("text"))


def heading(row: "PreviewRow") -> str:
    """``Row 12, 143 tokens, 2 trained, cut``"""
    parts = [f"Row {row.index + 1:,}"]
    if row.tokens is not None:
        parts.append(f"{row.tokens:,} tokens")
    if row.trained is not None and not row.label:
        parts.append(f"{row.trained:,} trained")
    if row.truncated:
        parts.append("cut to the longest length")
    return ", ".join(parts)


def _format(token: str, *, trained: bool = False) -> QTextCharFormat:
    made = QTextCharFormat()
    made.setForeground(theme().color(token))
    if trained:
        made.setUnderlineStyle(QTextCharFormat.UnderlineStyle.SingleUnderline)
        made.setUnderlineColor(theme().color("accent"))
        made.setBackground(theme().color("selected"))
    return made
