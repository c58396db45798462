"""What a plan needs to know before its choices are made: lengths of the rows, size of the task's head."""

from functools import lru_cache
from pathlib import Path

from studio.core.facts import LengthFacts, ModelFacts
from studio.core.spec import RunSpec
from studio.datasets.encode import Encoder
from studio.datasets.lengths import measure_lengths
from studio.datasets.split import split_rows
from studio.datasets.store import StoredDataset
from studio.service.resolve import Resolved

DEFAULT_LENGTH = 512  # tokens
# families whose classifier has a hidden layer of its own (ModernBERT: without bias, but with a norm of that size)
DENSE_HEADS = {"roberta", "xlm-roberta", "camembert", "electra", "distilbert", "modernbert", "deberta-v2"}


def resolved_length(spec: RunSpec, model: ModelFacts) -> int:
    """The longest row in tokens: as written, else ``DEFAULT_LENGTH`` or what the model takes at most."""
    if spec.data.max_length != "auto":
        return spec.data.max_length
    return min(DEFAULT_LENGTH, model.max_positions or DEFAULT_LENGTH)


def classification_head_size(model: ModelFacts, classes: int) -> int:
    """Parameters outside the backbone of the transformers sequence classifier of this family."""
    weights = model.hidden * classes
    if model.kind == "decoder":
        return weights  # a linear layer without bias
    dense = model.hidden * (model.hidden + 1) if model.model_type in DENSE_HEADS else 0
    return dense + weights + classes


def lengths_of(found: Resolved) -> LengthFacts:
    """Token lengths of the training rows, from a sample; the same data is measured once."""
    spec, model, data = found.spec, found.model, found.data
    assert spec is not None
    assert model is not None
    assert data is not None
    return _measured_lengths(
        model.path, data.path, data.fingerprint, spec.task, found.format,
        tuple(sorted(found.columns.items())), found.labels, resolved_length(spec, model),
        spec.data.split.eval, spec.data.split.seed, spec.data.max_rows,
    )  # fmt: skip


@lru_cache(maxsize=32)
def _measured_lengths(
    model_path: str, data_path: str, fingerprint: str, task: str, format_: str, columns: tuple[tuple[str, str], ...],
    labels: tuple[str, ...], max_length: int, eval_rows: int, seed: int, max_rows: int | None,
) -> LengthFacts:  # fmt: skip
    dataset = StoredDataset(Path(data_path))
    encoder = Encoder(
        Path(model_path), task=task, format=format_, mapping=dict(columns), labels=labels, max_length=max_length
    )
    train, _ = split_rows(len(dataset), eval_rows, seed, max_rows)
    return measure_lengths(dataset, encoder, train)
