"""Which screens there are, in the order of the rail; their code is imported on the first visit."""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from studio.gui.backend import Backend
from studio.gui.screens.base import Screen


@dataclass(frozen=True)
class ScreenEntry:
    """A screen by its id, its words in the rail, its icon, and ``module:Class``."""

    id: str
    title: str
    icon: str
    target: str
    summary: str

    def begin(self, backend: Backend) -> Screen:
        """The screen, to be built in pieces."""
        made: Screen = getattr(self.load(), self.target.partition(":")[2])(backend, in_pieces=True)
        return made

    def load(self) -> ModuleType:
        """The screen's code."""
        return import_module(self.target.partition(":")[0])


_FOLDER = "studio.gui.screens"
SCREENS = (
    ScreenEntry("new_run", "New run", "new_run", f"{_FOLDER}.new_run.screen:NewRunScreen", "Set up and start a run"),
    ScreenEntry("run", "Run", "run", f"{_FOLDER}.live.screen:RunScreen", "Watch a run"),
    ScreenEntry("runs", "Runs", "runs", f"{_FOLDER}.runs.screen:RunsScreen", "Find and compare runs"),
    ScreenEntry("models", "Models", "models", f"{_FOLDER}.models.screen:ModelsScreen", "Base models you have"),
    ScreenEntry("data", "Data", "data", f"{_FOLDER}.data.screen:DataScreen", "Datasets you have"),
    ScreenEntry("methods", "Methods", "methods", f"{_FOLDER}.methods.screen:MethodsScreen", "Tuning methods"),
    ScreenEntry("devices", "Devices", "devices", f"{_FOLDER}.devices.screen:DevicesScreen", "What this machine has"),
    ScreenEntry(
        "settings", "Settings", "settings", f"{_FOLDER}.settings.screen:SettingsScreen", "Appearance, energy, folders"
    ),
)
FIRST_RUN = ScreenEntry(
    "first_run", "Welcome", "play", f"{_FOLDER}.first_run.screen:FirstRunScreen", "Train your first model"
)


def preload() -> None:
    """Import all screens and then the plotting library, in a background task: no first visit waits for them."""
    from studio.gui.plots.queue import preload as preload_plots
    from studio.gui.widgets.schema import spec_schema

    for screen in SCREENS:
        screen.load()
    spec_schema()
    preload_plots()


def entry(screen_id: str) -> ScreenEntry:
    """The entry of an id; KeyError for an unknown one."""
    return {made.id: made for made in (*SCREENS, FIRST_RUN)}[screen_id]
