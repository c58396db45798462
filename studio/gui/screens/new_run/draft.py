"""The spec while it is being written: plain data, changed by path, with undo."""

import copy
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

MISSING = object()


class Draft(QObject):
    """Signals: ``changed(path)`` after every change; ``replaced()`` when the forms must show it anew."""

    changed = Signal(str)
    replaced = Signal()

    def __init__(self, raw: Mapping[str, Any] | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.raw: dict[str, Any] = copy.deepcopy(dict(raw)) if raw else empty_spec()
        self.history = QUndoStack(self)

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a dotted path (``method.placements.0.use``)."""
        found = read_path(self.raw, path)
        return default if found is MISSING else found

    def part(self, path: str) -> dict[str, Any]:
        """The mapping at a path; empty where a spec file has something else there."""
        found = self.get(path)
        return found if isinstance(found, dict) else {}

    def placements(self) -> list[dict[str, Any]]:
        """The placements, as far as they are mappings."""
        found = self.part("method").get("placements")
        return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []

    def set(self, path: str, value: Any) -> None:
        """Change one value, as typed in a form; the forms are not told."""
        if read_path(self.raw, path) != value:
            self.history.push(_Edit(self, path, value))

    def patch(self, patch: Mapping[str, Any], words: str = "change") -> None:
        """Change several values at once, in one undo step, and tell the forms."""
        changed = copy.deepcopy(self.raw)
        for path, value in patch.items():
            write_path(changed, path, copy.deepcopy(value))
        self.replace(changed, words)

    def replace(self, raw: Mapping[str, Any], words: str = "replace") -> None:
        """Put another spec in place of this one, in one undo step, and tell the forms."""
        if dict(raw) != self.raw:
            self.history.push(_Replace(self, copy.deepcopy(dict(raw)), words))

    def copy(self) -> dict[str, Any]:
        return copy.deepcopy(self.raw)


class _Edit(QUndoCommand):
    """Typing in one field is one undo step, however many letters."""

    def __init__(self, draft: Draft, path: str, value: Any) -> None:
        super().__init__(f"change {path}")
        self._draft, self._path, self._value = draft, path, value
        before = read_path(draft.raw, path)
        self._before = before if before is MISSING else copy.deepcopy(before)
        self._first = True

    def id(self) -> int:
        return hash(self._path) % 2**31

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, _Edit) or other._path != self._path:
            return False
        self._value = other._value
        return True

    def redo(self) -> None:
        self._write(self._value)

    def undo(self) -> None:
        self._write(self._before)

    def _write(self, value: Any) -> None:
        write_path(self._draft.raw, self._path, value if value is MISSING else copy.deepcopy(value))
        self._draft.changed.emit(self._path)
        if not self._first:
            self._draft.replaced.emit()
        self._first = False


class _Replace(QUndoCommand):
    def __init__(self, draft: Draft, raw: dict[str, Any], words: str) -> None:
        super().__init__(words)
        self._draft, self._after, self._before = draft, raw, draft.copy()

    def redo(self) -> None:
        self._put(self._after)

    def undo(self) -> None:
        self._put(self._before)

    def _put(self, raw: dict[str, Any]) -> None:
        self._draft.raw = copy.deepcopy(raw)
        self._draft.changed.emit("")
        self._draft.replaced.emit()


def empty_spec() -> dict[str, Any]:
    """Where a new form starts: LoRA with its defaults, model and data still to be chosen."""
    return {
        "version": 1,
        "name": "run",
        "task": "sft",
        "model": {"source": ""},
        "data": {"source": ""},
        "method": {"placements": [{"use": "lora"}]},
        "train": {},
    }


def suggest_name(draft: Draft) -> str:
    """A name from data and method: ``boolq-lora``."""
    data = str(draft.get("data.source", "")).partition(":")[2].replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    methods = [str(entry.get("use", "")) for entry in draft.placements()]
    return "-".join(part for part in (data.partition(".")[0], "+".join(methods)) if part)[:120] or "run"


def read_path(raw: Any, path: str) -> Any:
    """The value at a path, or MISSING."""
    for key in path.split("."):
        if isinstance(raw, Mapping) and key in raw:
            raw = raw[key]
        elif isinstance(raw, list) and key.isdigit() and int(key) < len(raw):
            raw = raw[int(key)]
        else:
            return MISSING
    return raw


def write_path(raw: dict[str, Any], path: str, value: Any) -> None:
    """Set (or with MISSING remove) the value at a path; mappings on the way are made."""
    *way, last = path.split(".")
    holder: Any = raw
    for key in way:
        if isinstance(holder, list):
            holder = holder[int(key)]
            continue
        if not isinstance(holder.get(key), dict | list):
            holder[key] = {}
        holder = holder[key]
    if isinstance(holder, list):
        holder[int(last)] = value
    elif value is MISSING:
        holder.pop(last, None)
    else:
        holder[last] = value
