"""The user's model and dataset libraries, in the studio's home."""

from studio.core.paths import home
from studio.datasets.library import DatasetLibrary
from studio.models.library import ModelLibrary


def models() -> ModelLibrary:
    """The model library of the current home."""
    return ModelLibrary(home().models)


def datasets() -> DatasetLibrary:
    """The dataset library of the current home."""
    return DatasetLibrary(home().datasets)
