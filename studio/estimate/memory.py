"""Device memory at the peak of a run, by what holds it."""

from dataclasses import dataclass

from studio.core.forecast import MemoryParts
from studio.core.units import GIB, MIB
from studio.estimate.activations import Activations, measure_activations
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
    used = footprint or measure_footprint(inputs.declared, inputs.model, family)
    peak = max(_phases(inputs, family, used), key=lambda phase: phase.total)
    trained = used.trainable + inputs.head_params
    in_place = used.base if inputs.precision == "fp32" else 0  # then the master is the base tensor itself
    on_cpu = inputs.device.kind == "cpu"
    return MemoryParts(
        weights=(inputs.model.params - in_place) * inputs.width,
        trainable=trained * FP32,
        gradients=trained * FP32,
        optimizer=trained * ADAM,
        activations=peak.activations,
        logits=peak.logits,
        workspace=peak.workspace if on_cpu else round(peak.workspace + CUBLAS_BYTES + CUDA_SLACK * peak.total),
        context=CPU_PROCESS_BYTES if on_cpu else CUDA_CONTEXT_BYTES,
    )


def _phases(inputs: EstimateInputs, family: Family, footprint: Footprint) -> list[Phase]:
    batch = largest_batch(inputs)
    kept = measure_activations(inputs, batch, family, footprint)
    logits = _logits_bytes(inputs, batch)
    phases = [Phase(kept.kept, logits, 0), _backward(inputs, batch, kept)]
    if inputs.eval_rows:
        phases.append(_evaluation(inputs))
    return phases


def _logits_bytes(inputs: EstimateInputs, batch: Batch) -> int:
    """Log-probabilities, their gradient and that of the logits, each in fp32, at the start of the backward pass."""
    return round(3 * FP32 * batch.trained * inputs.model.vocab) if inputs.language else 0


def _backward(inputs: EstimateInputs, batch: Batch, kept: Activations) -> Phase:
    """The backward pass through the last layer; with checkpointing, that layer has just been recomputed."""
    recomputed = kept.one_layer if inputs.checkpointing else 0
    return Phase(kept.kept + recomputed, 0, _layer_workspace(inputs, batch) if kept.one_layer else 0)


def _layer_workspace(inputs: EstimateInputs, batch: Batch) -> int:
    """Gradients and temporaries in flight inside one layer."""
    model = inputs.model
    mlp = inputs.width * (3 * model.intermediate + 2 * model.hidden)
    norm = 3 * FP32 * model.hidden + inputs.width * model.hidden
    return max(mlp, norm) * batch.tokens


def _evaluation(inputs: EstimateInputs) -> Phase:
    """A held-out batch: nothing is kept but the logits, in compute precision, fp32 and as log-probabilities."""
    batch = largest_eval_batch(inputs)
    copies = 2 * FP32 + (inputs.width if inputs.width != FP32 else 0)
    logits = round(copies * batch.trained * inputs.model.vocab) if inputs.language else 0
    return Phase(0, logits, 0 if logits else _layer_workspace(inputs, batch))
