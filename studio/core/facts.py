"""What is known about a model, a dataset and a device; measured elsewhere, passed around as these."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Fact(BaseModel):
    """Base of the fact types: frozen, and tolerant of fields a newer studio wrote."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class ModelFacts(Fact):
    """A base model, from its config and weight header alone.

    ``params`` counts every stored scalar once (tied tensors once). ``weight_bytes`` is the size of the stored
    weights. A mixture's ``intermediate`` is one expert's, and ``active_experts`` see each token. ``relative_positions``
    are the rows of a table of relative positions. ``fingerprint`` is the SHA-256 over config and weights' headers,
    sizes and samples.
    """

    name: str
    path: str
    architecture: str  # transformers class name, e.g. "LlamaForCausalLM"
    model_type: str  # transformers model_type, e.g. "llama"
    kind: Literal["decoder", "encoder", "encoder-decoder", "vision", "audio", "other"]
    params: int
    weight_bytes: int
    dtype: str  # stored dtype of most weights, e.g. "bfloat16"
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    max_positions: int
    tied_embeddings: bool
    gated_mlp: bool
    has_chat_template: bool
    active_experts: int = 1
    relative_positions: int = 0
    license: str = ""
    fingerprint: str = ""


class DataStep(Fact):
    """A change that made one dataset of another: of what kind, what it did to how many rows.

    ``before`` is the fingerprint of the rows that it started from.
    """

    kind: str
    does: str
    rows: int
    before: str


class DataFacts(Fact):
    """A dataset as its library knows it. Row counts are exact; ``fingerprint`` is the SHA-256 of its rows.

    ``steps`` made it of the dataset ``parent``, in their order; both empty for one that was added from a file.
    """

    name: str
    path: str
    rows: int
    columns: tuple[str, ...]
    format: str  # detected format
    mapping: dict[str, str]  # role -> column name or template, as detected or chosen
    labels: tuple[str, ...] = ()  # class names for classification, sorted
    license: str = ""
    source: str = ""
    fingerprint: str = ""
    parent: str = ""
    steps: tuple[DataStep, ...] = ()


class LengthFacts(Fact):
    """Token lengths over (a sample of) a dataset as the worker will encode it.

    ``trained`` is the mean number of tokens per row that carry loss; ``sampled`` rows were measured.
    """

    sampled: int
    mean: float
    p50: int
    p95: int
    longest: int
    trained: float
    truncated: int
    max_length: int


class DeviceFacts(Fact):
    """A device that can train. Bytes are of device memory (RAM for a CPU); watts are of the board.

    ``bf16`` says whether it has instructions for that, ``avx512`` whether a CPU has those.
    """

    id: str  # "cpu" or "cuda:0"
    name: str
    kind: Literal["cpu", "cuda"]
    total_bytes: int
    free_bytes: int
    compute_capability: tuple[int, int] | None = None
    bf16: bool = False
    avx512: bool = False
    cores: int | None = None
    power_limit_w: float | None = None
    driver: str = ""


class DeviceSample(Fact):
    """One reading of a device. None where the machine cannot tell; never an estimate.

    ``energy_j`` is a counter in joules since the driver loaded (only differences mean something).
    """

    device: str
    time: float  # seconds since the epoch
    used_bytes: int
    free_bytes: int
    total_bytes: int
    process_bytes: int | None = None
    utilization: float | None = None  # 0..1
    power_w: float | None = None
    energy_j: float | None = None
    temperature_c: float | None = None
    power_limit_w: float | None = None
    processes: tuple[tuple[int, int], ...] = ()  # (pid, bytes)
