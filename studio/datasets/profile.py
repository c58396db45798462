"""What a column holds, gathered while the rows pass by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.datasets.templates import as_text

MAX_CLASSES = 50  # more different values than this are not guessed to be classes
_CLASS_NAME_CHARS = 64


@dataclass
class ColumnProfile:
    """Counts over one column; ``values`` are its different values as text, None once they are too many."""

    present: int = 0
    texts: int = 0
    scalars: int = 0
    chars: int = 0
    values: set[str] | None = field(default_factory=set)

    def add(self, value: Any) -> None:
        if value is None:
            return
        self.present += 1
        if isinstance(value, str):
            self.texts += 1
            self.chars += len(value)
        elif not isinstance(value, bool | int):
            self.values = None
            return
        self.scalars += 1
        if self.values is not None:
            self._remember(value)

    def _remember(self, value: Any) -> None:
        text = as_text(value)
        if len(text) > _CLASS_NAME_CHARS:
            self.values = None
        elif self.values is not None:
            self.values.add(text)
            if len(self.values) > MAX_CLASSES:
                self.values = None

    @property
    def is_text(self) -> bool:
        return self.texts > 0 and self.texts >= 0.9 * self.present

    @property
    def mean_chars(self) -> float:
        return self.chars / self.texts if self.texts else 0.0


@dataclass
class Profile:
    """All columns in the order they first appear, the number of rows, and the first rows themselves."""

    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    rows: int = 0
    sample: list[dict[str, Any]] = field(default_factory=list)
    sample_rows: int = 200

    def add(self, row: Mapping[str, Any]) -> None:
        if len(self.sample) < self.sample_rows:
            self.sample.append(dict(row))
        self.rows += 1
        for name, value in row.items():
            column = self.columns.get(name)
            if column is None:
                column = self.columns[name] = ColumnProfile()
            column.add(value)
