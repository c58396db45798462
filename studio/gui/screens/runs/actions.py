"""What can be done with selected runs: one list, drawn as buttons and as the context menu."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from studio.catalog.rows import RunRow
from studio.core.state import ACTIVE

Selection = Sequence[RunRow]


@dataclass(frozen=True)
class RunAction:
    """A command over a selection; ``allows`` says when it makes sense."""

    id: str
    text: str
    icon: str
    shortcut: str
    allows: Callable[[Selection], bool]
    role: str = ""


def _one(runs: Selection) -> bool:
    return len(runs) == 1


def _several(runs: Selection) -> bool:
    return len(runs) >= 2


def _kept(runs: Selection) -> bool:
    return bool(runs) and all(run.trashed is None for run in runs)


def _resting(runs: Selection) -> bool:
    return _kept(runs) and all(run.state not in ACTIVE for run in runs)


def _trashed(runs: Selection) -> bool:
    return bool(runs) and all(run.trashed is not None for run in runs)


ACTIONS: tuple[RunAction, ...] = (
    RunAction("open", "&Open", "run", "Return", lambda runs: _one(runs) and _kept(runs)),
    RunAction("compare", "&Compare", "compare", "Ctrl+M", _several),
    RunAction("repeat", "&Repeat…", "refresh", "Ctrl+Shift+N", _one),
    RunAction("star", "St&ar", "star", "Ctrl+B", _kept),
    RunAction("export", "E&xport curves…", "download", "Ctrl+E", _one),
    RunAction("trash", "Move to tras&h", "trash", "Delete", _resting),
    RunAction("restore", "Restor&e", "undo", "Ctrl+R", _trashed),
    RunAction("delete", "&Delete for good…", "trash", "Shift+Delete", _trashed, "danger"),
)
