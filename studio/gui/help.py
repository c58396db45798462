"""The help: Markdown pages of ``resources/help``, searchable, with the pictures of the theme in force."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, Qt, QUrl
from PySide6.QtGui import QImage, QStandardItem, QStandardItemModel, QTextDocument
from PySide6.QtWidgets import QDialog, QListView, QSplitter, QTextBrowser, QWidget

from studio.core.paths import resource
from studio.gui.theme import GRID, theme
from studio.gui.widgets.layout import boxed, column, row
from studio.gui.widgets.search import SearchField
from studio.gui.widgets.text import muted

ORDER = (
    "first_run", "new_run", "run", "runs", "models", "data", "methods", "plugins", "writing_methods", "conformance",
    "spec_files", "devices", "settings", "keyboard", "changelog",
)  # fmt: skip
_PAGE = Qt.ItemDataRole.UserRole + 1
MARGIN = 4 * GRID  # px beside a picture


@dataclass(frozen=True)
class HelpPage:
    """A page by its id, which is a screen's where it is about one."""

    id: str
    title: str
    text: str


def read_pages() -> list[HelpPage]:
    """All pages in their order."""
    return [_read(resource(f"help/{name}.md"), name) for name in ORDER]


def find_pages(pages: list[HelpPage], words: str) -> list[HelpPage]:
    """Pages with all the words, those with one in the title first."""
    wanted = words.casefold().split()
    found = [page for page in pages if all(word in page.text.casefold() for word in wanted)]
    return sorted(found, key=lambda page: not any(word in page.title.casefold() for word in wanted))


class HelpDialog(QDialog):
    """A list of pages beside the page; stays open while the window is used."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Help — PET Studio")
        self.resize(120 * GRID, 88 * GRID)
        self._pages = read_pages()
        self._shown = ""
        self.search = SearchField("Search the help")
        self.list = QListView()
        self.list.setAccessibleName("Help pages")
        self.list.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self._model = QStandardItemModel(self)
        self.list.setModel(self._model)
        self.nothing = muted("No page has these words.")
        self.page = HelpBrowser()
        self.page.anchorClicked.connect(self._follow)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(boxed(column(self.search, self.nothing, self.list)))
        split.addWidget(self.page)
        split.setSizes([30 * GRID, 88 * GRID])
        split.setChildrenCollapsible(False)
        self.setLayout(row(split, margin=2 * GRID))
        self.search.searched.connect(self._fill)
        self.list.selectionModel().currentChanged.connect(lambda current, _before: self._choose(current.data(_PAGE)))
        theme().watch(self, lambda self: self.page.show_page(self._page(self._shown), self.search.text()))
        self._fill("")

    def show_page(self, page_id: str) -> None:
        """Open the help at a page; the first one for an id without a page."""
        self.search.clear()
        self._fill("")
        ids = [page.id for page in self._pages]
        self.list.setCurrentIndex(self._model.index(ids.index(page_id) if page_id in ids else 0, 0))
        self.show()
        self.raise_()
        self.activateWindow()

    def _fill(self, words: str) -> None:
        found = find_pages(self._pages, words)
        self._model.clear()
        for page in found:
            item = QStandardItem(page.title)
            item.setData(page.id, _PAGE)
            self._model.appendRow(item)
        self.nothing.setVisible(not found)
        if found:
            self.list.setCurrentIndex(self._model.index(0, 0))

    def _choose(self, page_id: str | None) -> None:
        if page_id is not None:
            self._shown = page_id
            self.page.show_page(self._page(page_id), self.search.text())

    def _follow(self, link: QUrl) -> None:
        """Links lead to other pages, or to the web by the desktop's browser."""
        page_id = Path(link.path()).stem
        if link.scheme():
            from PySide6.QtGui import QDesktopServices

            QDesktopServices.openUrl(link)
        elif page_id in ORDER:
            self.show_page(page_id)

    def _page(self, page_id: str) -> HelpPage:
        return next((page for page in self._pages if page.id == page_id), self._pages[0])


class HelpBrowser(QTextBrowser):
    """Shows a page; pictures follow the theme and the width."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setOpenLinks(False)
        self.setAccessibleName("Help page")

    def show_page(self, page: HelpPage, words: str = "") -> None:
        """Show a page at its beginning, or where the first searched word stands."""
        self.document().setMarkdown(page.text, QTextDocument.MarkdownFeature.MarkdownDialectGitHub)
        self.moveCursor(self.textCursor().MoveOperation.Start)
        if words.split():
            self.find(words.split(maxsplit=1)[0])

    def loadResource(self, kind: int, name: QUrl | str) -> Any:
        path = Path(QUrl(name).path())
        if kind != QTextDocument.ResourceType.ImageResource.value or path.parent.name != "screens":
            return QByteArray()
        image = QImage(str(resource(f"help/screens/{path.stem}-{theme().tokens.name}.png")))
        width = min(image.width(), max(self.viewport().width() - MARGIN, 20 * GRID))
        return image.scaledToWidth(width, Qt.TransformationMode.SmoothTransformation)


def _read(path: Path, name: str) -> HelpPage:
    text = path.read_text(encoding="utf-8")
    return HelpPage(name, text.splitlines()[0].removeprefix("# "), text)
