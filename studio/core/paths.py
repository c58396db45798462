"""Where the studio's files live, in a checkout, an installed wheel and a frozen program alike."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Home:
    """The user's folder: libraries, runs, plugins, catalog and settings."""

    root: Path

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def plugins(self) -> Path:
        return self.root / "plugins"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.db"

    @property
    def settings(self) -> Path:
        return self.root / "settings.toml"


def home() -> Home:
    """``PET_STUDIO_HOME`` if set, else the platform's data folder."""
    chosen = os.environ.get("PET_STUDIO_HOME")
    if chosen:
        return Home(Path(chosen).expanduser().absolute())
    import platformdirs  # not needed in a worker, whose launcher always sets the variable

    return Home(Path(platformdirs.user_data_dir("pet-studio", appauthor=False)))


def resource(name: str) -> Path:
    """A file of ``resources/``, e.g. ``resource("icons/run.svg")``; FileNotFoundError if there is none."""
    path = _beside("resources", "studio_resources") / name
    if not path.exists():
        raise FileNotFoundError(f"no resource {name!r} in {path.parent}")
    return path


def bundled_plugins() -> Path:
    """The folder of plugins that ship with the studio."""
    return _beside("plugins", "studio_plugins")


def import_root() -> Path:
    """The folder that must lead ``sys.path`` so that ``import studio`` is this studio."""
    return _PACKAGE.parent


def _beside(checkout_name: str, installed_name: str) -> Path:
    frozen = getattr(sys, "_MEIPASS", None)
    roots = [Path(frozen)] if frozen else [_PACKAGE.parent]
    for root in roots:
        for name in (installed_name, checkout_name):
            if (root / name).is_dir():
                return root / name
    raise FileNotFoundError(f"neither {installed_name} nor {checkout_name} lies in {roots[0]}")
