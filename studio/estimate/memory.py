"""Device memory at the peak of a run, by what holds it."""

from dataclasses import dataclass

from studio.core.forecast import MemoryParts
from studio.core.units import GIB, MIB
from studio.estimate.activations import measure_activations
from studio.estimate.batches import Batch, largest_batch, largest_eval_batch
from studio.estimate.families import Family, family_of
from studio.estimate.footprint import Footprint, measure_footprint
from studio.estimate.inputs import EstimateInputs

FP32 = 4
ADAM = 8
CPU_PROCESS_BYTES = int(0.45 * GIB)  # Python, torch and transformers before any model
CUDA_CONTEXT_BYTES = int(0.5 * GIB)
CUBLAS_BYTES = 32 * MIB
CUDA_SLACK = 0.05  # what the caching allocator reserves beyond what lives in it


@dataclass(frozen=True)
class Phase:
    """One moment of a run that may be its peak: bytes besides weights and trainables."""

    activations: int
    logits: int
    workspace: int

    @property
    def total(self) -> int:
        return self.activations + self.logits + self.workspace


def measure_memory(inputs: EstimateInputs, footprint: Footprint | None = None) -> MemoryParts:
    """The parts at the highest of the phases: loss, backward pass, evaluation."""
    family = family_of(inputs.model)
    used = footprint or measure_footprint(inputs.declared, family)
    peak = max(phases(inputs, family, used, largest_batch(inputs)), key=lambda phase: phase.total)
    trained = used.trainable + inputs.head_params
    in_fp32 = inputs.precision == "fp32"
    in_place = used.base if in_fp32 else 0  # then the master is the base tensor itself
    on_cpu = inputs.device.kind == "cpu"
    return MemoryParts(
        weights=(inputs.model.params + (inputs.head_params if not in_fp32 else 0) - in_place) * inputs.width,
        trainable=trained * FP32,
        gradients=trained * FP32,
        optimizer=trained * ADAM,
        activations=peak.activations,
        logits=peak.logits,
        workspace=peak.workspace if on_cpu else round(peak.workspace + CUBLAS_BYTES + CUDA_SLACK * peak.total),
        context=CPU_PROCESS_BYTES if on_cpu else CUDA_CONTEXT_BYTES,
    )


def phases(inputs: EstimateInputs, family: Family, footprint: Footprint, batch: Batch) -> list[Phase]:
    """The moments of a run that may be its peak, with ``batch`` as its largest micro-batch."""
    kept = measure_activations(inputs, batch, family, footprint)
    loss = Phase(kept.kept, _logits_bytes(inputs, batch), 0)
    backward = Phase(kept.in_backward, 0, kept.workspace)
    return [loss, backward, _evaluation(inputs)] if inputs.eval_rows else [loss, backward]


def _logits_bytes(inputs: EstimateInputs, batch: Batch) -> int:
    """Log-probabilities, their gradient and that of the logits, each in fp32, at the start of the backward pass."""
    return round(3 * FP32 * batch.trained * inputs.model.vocab) if inputs.language else 0


def _evaluation(inputs: EstimateInputs) -> Phase:
    """A held-out batch keeps its last hidden states and its logits: compute precision, fp32, log-probabilities.

    Without such logits the highest moment is inside a layer.
    """
    model, batch = inputs.model, largest_eval_batch(inputs)
    hidden = 2 * inputs.width * model.hidden * batch.tokens
    if not inputs.language:
        return Phase(hidden, 0, 3 * inputs.width * model.intermediate * batch.tokens)
    copies = 2 * FP32 + (inputs.width if inputs.width != FP32 else 0)
    return Phase(hidden, round(copies * batch.trained * model.vocab), 0)
