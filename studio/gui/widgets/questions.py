"""Dialogs that ask or choose a file; opened, never executed, so that the window goes on living."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget


def ask(
    parent: QWidget,
    title: str,
    text: str,
    choices: Sequence[tuple[str, Callable[[], object]]],
    *,
    cancel: str = "Cancel",
    informative: str = "",
) -> QMessageBox:
    """Ask with one button per choice and Cancel; the first choice is the default."""
    box = QMessageBox(QMessageBox.Icon.NoIcon, title, text, QMessageBox.StandardButton.NoButton, parent)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setInformativeText(informative)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    for index, (label, chosen) in enumerate(choices):
        made = box.addButton(label, QMessageBox.ButtonRole.AcceptRole)
        made.clicked.connect(lambda *_, run=chosen: run())
        if index == 0:
            box.setDefaultButton(made)
    box.setEscapeButton(box.addButton(cancel, QMessageBox.ButtonRole.RejectRole))
    box.open()
    return box


def choose_file(
    parent: QWidget, title: str, filters: str, chosen: Callable[[str], object], *, save: bool = False, start: str = ""
) -> QFileDialog:
    """Let the user pick a file to read, or with ``save`` to write."""
    dialog = QFileDialog(parent, title, start, filters)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave if save else QFileDialog.AcceptMode.AcceptOpen)
    dialog.setFileMode(QFileDialog.FileMode.AnyFile if save else QFileDialog.FileMode.ExistingFile)
    return _opened(dialog, chosen)


def choose_folder(parent: QWidget, title: str, chosen: Callable[[str], object]) -> QFileDialog:
    """Let the user pick a folder."""
    dialog = QFileDialog(parent, title)
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    dialog.setOption(QFileDialog.Option.ShowDirsOnly)
    return _opened(dialog, chosen)


def _opened(dialog: QFileDialog, chosen: Callable[[str], object]) -> QFileDialog:
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.fileSelected.connect(chosen)
    dialog.open()
    return dialog
