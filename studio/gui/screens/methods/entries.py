"""The entries of the gallery: methods and broken plugins, searched, filtered and sorted."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from studio.core.errors import PluginError, StudioError
from studio.gui.screens.methods.families import badge_words, families_of, tag_words

if TYPE_CHECKING:
    from studio.service.methods import MethodInfo
    from studio.service.side_by_side import Counted

Order = Literal["title", "count"]


@dataclass(frozen=True)
class Entry:
    """A method, or a plugin that cannot be used (``error``); ``counted`` once it is known on the chosen model."""

    info: "MethodInfo | None" = None
    error: StudioError | None = None
    counted: "Counted | None" = None

    @property
    def id(self) -> str:
        if self.info is not None:
            return self.info.id
        return self.error.plugin if isinstance(self.error, PluginError) else ""

    @property
    def title(self) -> str:
        return self.info.title if self.info else self.id

    @property
    def summary(self) -> str:
        if self.info is not None:
            return self.info.summary
        return self.error.message.removeprefix(f"plugin {self.id!r}: ") if self.error else ""

    @property
    def trainable(self) -> int | None:
        count = self.counted.count if self.counted else None
        return count.trainable if count else None

    def words(self) -> str:
        """What a screen reader says of the card."""
        if self.info is None:
            return f"{self.title} cannot be used. {self.summary}"
        return f"{self.title}. {self.summary} {badge_words(self.info)[0]}. {count_words(self)}".rstrip()


@dataclass(frozen=True)
class Wanted:
    """What the gallery shows: words, families (none: all), and whether only what works on the chosen model."""

    text: str = ""
    families: frozenset[str] = frozenset()
    works: bool = False
    order: Order = "title"


def make_entries(
    infos: Iterable["MethodInfo"], errors: Iterable[StudioError], counted: Iterable["Counted"]
) -> list[Entry]:
    """One entry for each method and each broken plugin."""
    known = {found.method: found for found in counted}
    broken = [Entry(error=error) for error in errors]
    return [*broken, *(Entry(info, counted=known.get(info.id)) for info in infos)]


def arrange(entries: Sequence[Entry], wanted: Wanted) -> list[Entry]:
    """The wanted entries in the wanted order; broken plugins first, uncounted methods last."""
    found = [entry for entry in entries if _passes(entry, wanted)]

    def place(entry: Entry) -> tuple[bool, float, str]:
        count = float("inf") if entry.trainable is None else entry.trainable
        return entry.info is not None, count if wanted.order == "count" else 0, entry.title.casefold()

    return sorted(found, key=place)


def count_words(entry: Entry) -> str:
    """The count of a card, or in a word why there is none."""
    counted = entry.counted
    if counted is None:
        return ""
    if counted.count is not None:
        return f"{counted.count.trainable:,}"
    return "not at this budget" if counted.works else "not on this model"


def _passes(entry: Entry, wanted: Wanted) -> bool:
    if not _has_words(entry, wanted.text):
        return False
    if entry.info is None:
        return not wanted.families
    works = entry.counted is None or entry.counted.works
    return (works or not wanted.works) and _in_families(entry.info, wanted.families)


def _in_families(info: "MethodInfo", families: Collection[str]) -> bool:
    return not families or bool(set(families) & set(families_of(info)))


def _has_words(entry: Entry, text: str) -> bool:
    haystack = f"{entry.id} {entry.title} {entry.summary}"
    if entry.info is not None:
        haystack += f" {entry.info.paper} {tag_words(entry.info)}"
    return all(word in haystack.casefold() for word in text.casefold().split())
