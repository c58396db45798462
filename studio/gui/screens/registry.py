"""Which screens there are, in the order of the rail; their code is imported on the first visit."""

from dataclasses import dataclass
from importlib import import_module

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

    def build(self, backend: Backend) -> Screen:
        module, _, name = self.target.partition(":")
        made: Screen = getattr(import_module(module), name)(backend)
        return made


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


def entry(screen_id: str) -> ScreenEntry:
    """The entry of an id; KeyError for an unknown one."""
    return {made.id: made for made in (*SCREENS, FIRST_RUN)}[screen_id]
