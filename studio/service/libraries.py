"""The user's model and dataset libraries, in the studio's home."""

from typing import TYPE_CHECKING

from studio.core.facts import ModelFacts
from studio.core.paths import home
from studio.core.progress import CancelCheck, Progress
from studio.models.library import ModelLibrary

if TYPE_CHECKING:
    from studio.datasets.library import DatasetLibrary


def models() -> ModelLibrary:
    """The model library of the current home."""
    return ModelLibrary(home().models)


def datasets() -> "DatasetLibrary":
    """The dataset library of the current home."""
    from studio.datasets.library import DatasetLibrary  # it brings numpy, which counting a method does without

    return DatasetLibrary(home().datasets)


def download_model(
    repo: str, revision: str | None, *, name: str | None = None, progress: Progress, cancelled: CancelCheck
) -> ModelFacts:
    """Download ``ORG/NAME`` at a revision into the library, with the user's endpoint and token.

    Raises:
        UserError: no such repository, or one that needs a token.
        MachineError: offline, or the disk is full.
        Cancelled: what has arrived is kept, and the next download goes on from there.
    """
    from studio.models import hub, tokens
    from studio.service import settings

    return hub.download_model(
        repo, revision, models(), name=name, endpoint=settings.load().hub_endpoint or None,
        token=tokens.get_token(), progress=progress, cancelled=cancelled,
    )  # fmt: skip
