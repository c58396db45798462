"""The window's door to the libraries of models and datasets; see ``studio.gui.backend``."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.api import Site
    from studio.core.facts import DataFacts, ModelFacts
    from studio.core.problems import Problem
    from studio.datasets.formats import Format
    from studio.datasets.lint.finding import Finding
    from studio.datasets.peek import Peek
    from studio.datasets.preview import PreviewRow
    from studio.datasets.statistics import Statistics

Progress = Callable[[str, float | None], None]
Cancelled = Callable[[], bool]
PREVIEW_TOKENS = 2048  # longest row of a preview


class LibraryBackend:
    """Models and datasets."""

    def models(self) -> "list[ModelFacts]":
        from studio.service import libraries

        return libraries.models().list()

    def datasets(self) -> "list[DataFacts]":
        from studio.service import libraries

        return libraries.datasets().list()

    def model_problems(self) -> "list[Problem]":
        """Damaged or incomplete entries of the model library."""
        from studio.service import libraries

        return list(libraries.models().problems())

    def dataset_problems(self) -> "list[Problem]":
        """Damaged entries of the dataset library."""
        from studio.service import libraries

        return list(libraries.datasets().problems())

    def sites(self, model_source: str) -> "tuple[Site, ...]":
        from studio.models.sites import find_sites
        from studio.service import libraries

        return find_sites(Path(libraries.models().resolve(model_source).path))

    def select_sites(self, sites: "Sequence[Site]", where: str) -> "tuple[Site, ...]":
        """The sites that an expression selects; UserError if it is none. Quick."""
        from studio.models.where import select

        return select(sites, where)

    def data_facts(self, source: str) -> "DataFacts":
        from studio.service import libraries

        return libraries.datasets().resolve(source)

    def add_model(self, path: Path, *, progress: Progress, cancelled: Cancelled) -> "ModelFacts":
        from studio.service import libraries

        return libraries.models().add(path, progress=progress, cancelled=cancelled)

    def add_dataset(self, path: Path, *, progress: Progress, cancelled: Cancelled) -> "DataFacts":
        from studio.service import libraries

        return libraries.datasets().add(path, progress=progress, cancelled=cancelled)

    def peek_dataset(self, path: Path) -> "Peek":
        """The first rows of a file that is no dataset yet."""
        from studio.datasets.peek import peek

        return peek(path)

    def formats(self) -> "dict[str, Format]":
        """The dataset formats by name, with their roles. Quick."""
        from studio.datasets.formats import FORMATS

        return FORMATS

    def download_model(
        self, repo: str, revision: str | None, *, progress: Progress, cancelled: Cancelled
    ) -> "ModelFacts":
        from studio.service import libraries

        return libraries.download_model(repo, revision, progress=progress, cancelled=cancelled)

    def remove_model(self, name: str) -> None:
        from studio.service import libraries

        libraries.models().remove(name)

    def dataset_rows(self, name: str, start: int, stop: int) -> list[dict[str, Any]]:
        from studio.service import libraries

        return libraries.datasets().open(name).rows(start, stop)

    def preview(
        self, name: str, format: str, mapping: Mapping[str, str], model: str, start: int, count: int
    ) -> "list[PreviewRow]":
        """Rows rendered with this mapping, as tokens of ``model`` unless empty; InvalidSpecError for a wrong one."""
        from studio.core.errors import InvalidSpecError
        from studio.datasets.check import check_mapping
        from studio.datasets.encode import Encoder
        from studio.datasets.labels import find_labels
        from studio.datasets.preview import preview
        from studio.service import libraries

        stored = libraries.datasets().open(name)
        classes = format == "classification"
        labels = (
            find_labels(stored, mapping["label"]) if classes and mapping.get("label") in stored.facts.columns else ()
        )
        problems = check_mapping(stored.facts, format, mapping, labels)
        if problems:
            raise InvalidSpecError(problems)
        encoder = None
        if model:
            path = Path(libraries.models().get(model).path)
            task = "classification" if classes else "sft"
            encoder = Encoder(path, task=task, format=format, mapping=mapping, labels=labels, max_length=PREVIEW_TOKENS)
        return preview(stored, encoder, format, mapping, labels, start, count)

    def measure_dataset(self, name: str, model: str, *, progress: Progress, cancelled: Cancelled) -> "Statistics":
        """Lengths of a dataset's rows in tokens of a model, and its answers."""
        from studio.datasets.encode import Encoder
        from studio.datasets.statistics import WHOLE, measure
        from studio.service import libraries

        stored = libraries.datasets().open(name)
        facts = stored.facts
        encoder = Encoder(
            Path(libraries.models().get(model).path), mapping=facts.mapping, labels=facts.labels, max_length=WHOLE,
            task="classification" if facts.format == "classification" else "sft", format=facts.format,
        )  # fmt: skip
        return measure(stored, encoder, progress=progress, cancelled=cancelled)

    def update_dataset(self, name: str, format: str, mapping: Mapping[str, str]) -> "DataFacts":
        from studio.service import libraries

        return libraries.datasets().update(name, format=format, mapping=mapping)

    def lint_dataset(self, name: str, *, progress: Progress, cancelled: Cancelled) -> "list[Finding]":
        """Everything that is wrong with the rows of a dataset."""
        from studio.service import libraries

        return libraries.datasets().lint(name, progress=progress, cancelled=cancelled)

    def mend_dataset(
        self, name: str, findings: "Sequence[Finding]", *, progress: Progress, cancelled: Cancelled
    ) -> "DataFacts":
        """A copy of a dataset without these faults."""
        from studio.service import libraries

        return libraries.datasets().mend(name, findings, progress=progress, cancelled=cancelled)

    def remove_dataset(self, name: str) -> None:
        from studio.service import libraries

        libraries.datasets().remove(name)
