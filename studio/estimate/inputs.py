"""What an estimate starts from: facts about model, device and data, and the choices of a plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from studio.api import ParamDecl, Site
from studio.api.sites import Kept
from studio.core.facts import DeviceFacts, LengthFacts, ModelFacts
from studio.core.spec import Quantization

Precision = Literal["bf16", "fp16", "fp32"]
WIDTHS: dict[str, int] = {"bf16": 2, "fp16": 2, "fp32": 4}  # bytes of a scalar


@dataclass(frozen=True)
class MeasuredRun:
    """What was foreseen of a finished run, uncorrected, and what the run then measured.

    ``basis`` is where the foreseen bytes came from; ``method`` joins the placements' plugins with " + ".
    """

    device: str  # the device's name
    model_type: str
    precision: str
    predicted_bytes: int
    predicted_seconds_per_step: float
    predicted_watts: float | None = None
    measured_bytes: int | None = None
    measured_seconds_per_step: float | None = None
    measured_watts: float | None = None
    basis: str = "formula"
    method: str = ""
    driver: str = ""
    torch: str = ""
    attention: str = "sdpa"


@dataclass(frozen=True)
class EstimateInputs:
    """One run to estimate. ``declared`` describes the PET method, as far as the next three do not.

    ``extra_tokens`` are the virtual ones in every row; ``backbone_grad`` is False if no gradient passes through the
    base model; ``edits`` names the sites whose weights are changed at each pass and what that keeps, see ``Traits``.

    ``quantization`` is how the matrices of the ``packable`` sites are held; ``formats`` are what advice may offer.

    ``effective_batch`` is that of the plan; without it, micro-batch times accumulation. ``masked`` says whether
    padded rows come with an attention mask; ``dropout`` whether the base model's own dropout is on (None: as
    its family is configured). ``wheres`` are the placements' expressions in the order of the spec, for advice;
    ``method`` joins their plugins with " + ", as ``MeasuredRun`` has it. ``torch`` is the version that will train.
    """

    model: ModelFacts
    device: DeviceFacts
    task: str
    precision: Precision
    micro_batch: int
    accumulation: int
    steps: int
    train_rows: int
    eval_rows: int
    eval_every: int
    max_length: int
    checkpointing: bool
    packing: bool
    declared: Sequence[tuple[Site, Sequence[ParamDecl]]]
    lengths: LengthFacts | None = None
    head_params: int = 0
    effective_batch: int | None = None
    memory_cap_bytes: int | None = None
    history: Sequence[MeasuredRun] = ()
    tariff_per_kwh: float | None = None
    grid_g_per_kwh: float | None = None
    attention: Literal["sdpa"] = "sdpa"
    masked: bool = True
    dropout: bool | None = None
    wheres: Sequence[str] = ()
    method: str = ""
    torch: str = ""
    extra_tokens: int = 0
    backbone_grad: bool = True
    quantization: Quantization = "none"
    packable: Sequence[Site] = ()
    formats: Sequence[Quantization] = ()
    edits: Mapping[str, tuple[Kept, ...]] = field(default_factory=dict)

    @property
    def rows_per_step(self) -> int:
        return self.effective_batch or self.micro_batch * self.accumulation

    @property
    def width(self) -> int:
        """Bytes of a scalar in the compute precision."""
        return WIDTHS[self.precision]

    @property
    def language(self) -> bool:
        """Whether the task predicts tokens, so that logits span the vocabulary."""
        return self.task != "classification"
