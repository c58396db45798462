"""Device memory at the peak of a run, by what holds it."""

from dataclasses import dataclass

from studio.core.forecast import MemoryParts
from studio.core.units import GIB, MIB
from studio.estimate.activations import Activations, measure_activations
from studio.estimate.batches import Batch, largest_batch, largest_eval_batch
from studio.estimate.families import family_of
from studio.estimate.footprint import Footprint, measure_footprint
from studio.estimate.inputs import EstimateInputs
from studio.estimate.packed import base_bytes
from studio.estimate.profile import MemoryProfile

FP32 = 4
ADAM = 8
LOGITS_BYTES = {"cpu": 2**24, "cuda": 2**28}  # of the logits in fp32 that the worker makes at once
CAPPED_LOGITS = frozenset({"gemma2"})
CHANGED_LOGITS = CAPPED_LOGITS | {"cohere", "cohere2", "granite"}  # those that are only scaled as well
CPU_PROCESS_BYTES = int(0.40 * GIB)  # Python, torch and transformers before any model
CUDA_CONTEXT_BYTES = int(0.5 * GIB)
CUBLAS_BYTES = 32 * MIB
CUDA_SLACK = 0.05  # what the caching allocator reserves beyond what lives in it
# what the C library's heap holds beyond what lives in it, measured on a 135M decoder: returning memory to the
# system at once would take it away, but costs half the speed
HEAP_SLACK, HEAP_LAYERS = 0.15, 6
# rows of mixed lengths leave holes of every size: fitted to steps of a 135M decoder on ordinary and on the longest rows
MIXED_LENGTHS, MIXED_HOLES = 1.5, 1.4
# where a CPU has instructions for half precision, products of each shape get kernels of their own, which lie among the
# activations of rows of mixed lengths: fitted to six runs of a 135M decoder, padded and packed
KERNELS_BYTES, KERNELS_BY_WEIGHT, KERNELS_HOLES = 380 * MIB, 1.5, 0.42


@dataclass(frozen=True)
class Phase:
    """One moment of a run that may be its peak: bytes besides weights and trainables."""

    activations: int
    logits: int
    workspace: int
    gradients: int = 0

    @property
    def total(self) -> int:
        return self.activations + self.logits + self.workspace + self.gradients


def simulated_memory(inputs: EstimateInputs, profile: MemoryProfile, footprint: Footprint) -> MemoryParts:
    """The parts at the simulated peak, with what the process and its heap or allocator hold besides."""
    found = profile.parts(inputs.micro_batch, largest_eval_batch(inputs).rows if inputs.eval_rows else 0)
    passing = Phase(found["activations"], found["logits"], found["workspace"])
    on_cpu = inputs.device.kind == "cpu"
    if on_cpu:
        kept = measure_activations(inputs, largest_batch(inputs), family_of(inputs.model), footprint)
        slack = _heap_slack(inputs, kept, passing)
    else:
        slack = CUBLAS_BYTES + round((profile.reserved_by(inputs.micro_batch) - 1) * sum(found.values()))
    found["workspace"] += slack
    return MemoryParts(**found, context=CPU_PROCESS_BYTES if on_cpu else CUDA_CONTEXT_BYTES)


def measure_memory(inputs: EstimateInputs, footprint: Footprint | None = None) -> MemoryParts:
    """The parts at the highest moment, with what the process and its heap or allocator hold besides."""
    family = family_of(inputs.model)
    used = footprint or measure_footprint(inputs.declared, family, inputs.edits)
    kept = measure_activations(inputs, largest_batch(inputs), family, used)
    peak = highest_phase(inputs, used, kept)
    on_cpu = inputs.device.kind == "cpu"
    slack = _heap_slack(inputs, kept, peak) if on_cpu else _cuda_slack(peak)
    live = live_parts(inputs, used, peak)
    return live.model_copy(
        update={"workspace": live.workspace + slack, "context": CPU_PROCESS_BYTES if on_cpu else CUDA_CONTEXT_BYTES}
    )


def live_parts(inputs: EstimateInputs, footprint: Footprint, peak: Phase) -> MemoryParts:
    """The tensors that live at a moment."""
    trained = footprint.trainable + inputs.head_params
    in_fp32 = inputs.precision == "fp32"
    in_place = footprint.base if in_fp32 else 0  # then the master is the base tensor itself
    return MemoryParts(
        weights=base_bytes(inputs) + ((inputs.head_params if not in_fp32 else 0) - in_place) * inputs.width,
        trainable=trained * FP32,
        gradients=peak.gradients,
        optimizer=trained * ADAM,
        activations=peak.activations,
        logits=peak.logits,
        workspace=peak.workspace,
        context=0,
    )


def highest_phase(inputs: EstimateInputs, footprint: Footprint, kept: Activations) -> Phase:
    """The moment of a run at which most is held, with its largest micro-batches."""
    found = phases(inputs, largest_batch(inputs), kept, footprint)
    return max(found, key=lambda phase: phase.total)


def phases(inputs: EstimateInputs, batch: Batch, kept: Activations, footprint: Footprint) -> list[Phase]:
    """The moments that may be the highest: loss, first and last layer of the backward pass, optimizer, evaluation.

    Gradients come one after the other while the activations go; with several micro-batches a step, all gradients
    are there from the second one on.
    """
    head = footprint.top + inputs.head_params
    every = footprint.trainable + inputs.head_params
    last = min((layer for layer in footprint.layers if layer is not None), default=-1)
    waiting = footprint.bottom + footprint.use_of(last).trained
    summed = every if inputs.accumulation > 1 else 0
    found = [
        Phase(kept.kept, _logits_bytes(inputs, batch), 0, FP32 * summed),
        Phase(kept.in_backward, 0, kept.workspace, FP32 * max(head, summed)),
        Phase(kept.at_end, 0, kept.workspace, FP32 * max(every - waiting, summed)),
        Phase(0, 0, 0, FP32 * every),
    ]
    return [*found, *_evaluation(inputs)] if inputs.eval_rows else found


def _heap_slack(inputs: EstimateInputs, kept: Activations, peak: Phase) -> int:
    """Holes in the heap, and the copy of the weights that conversion to another precision leaves behind."""
    converted = inputs.model.weight_bytes if inputs.model.weight_bytes != inputs.model.params * inputs.width else 0
    lengths = inputs.lengths
    mixed = inputs.precision != "fp32" and lengths is not None and lengths.longest > MIXED_LENGTHS * lengths.p50
    if mixed and inputs.device.bf16:
        kernels = min(KERNELS_BYTES, KERNELS_BY_WEIGHT * inputs.model.params * inputs.width)
        return round(kernels + KERNELS_HOLES * peak.total) + converted
    holes = HEAP_SLACK * peak.total + HEAP_LAYERS * (kept.one_layer + kept.workspace)
    return round(holes * (MIXED_HOLES if mixed else 1)) + converted


def _cuda_slack(peak: Phase) -> int:
    return round(CUBLAS_BYTES + CUDA_SLACK * peak.total)


def _logits_bytes(inputs: EstimateInputs, batch: Batch) -> int:
    """Log-probabilities, their gradient and that of the logits, each in fp32, at the start of the backward pass.

    What caps logits keeps them once more. Behind a frozen output layer: logits and log-probabilities of as many
    targets as exist at once.
    """
    if not inputs.language:
        return 0
    if not _by_part(inputs):
        cap = inputs.width if inputs.model.model_type in CAPPED_LOGITS else 0
        return round((3 * FP32 + cap) * batch.trained * inputs.model.vocab)
    return _logits_at_once(inputs, batch)


def _by_part(inputs: EstimateInputs) -> bool:
    """Whether the logits never exist all at once: nothing is known to change them, and their map is not trained."""
    tied = inputs.model.tied_embeddings
    on_head = (
        site.role == "head" or (tied and site.kind == "embedding" and any(decl.base for decl in decls))
        for site, decls in inputs.declared if decls
    )  # fmt: skip
    changed = inputs.model.model_type in CHANGED_LOGITS
    return family_of(inputs.model).known and not changed and not any(on_head)


def _logits_at_once(inputs: EstimateInputs, batch: Batch) -> int:
    """Logits in fp32, their log-probabilities, and logits in the compute precision if that is another."""
    at_once = max(1, LOGITS_BYTES[inputs.device.kind] // (FP32 * inputs.model.vocab))
    targets = min(batch.trained, at_once) if _by_part(inputs) else batch.trained
    return round((2 * FP32 + (inputs.width if inputs.width != FP32 else 0)) * targets * inputs.model.vocab)


def _evaluation(inputs: EstimateInputs) -> list[Phase]:
    """A held-out batch inside a layer, and with its logits; its last hidden states are there both times."""
    model, batch = inputs.model, largest_eval_batch(inputs)
    hidden = 2 * inputs.width * model.hidden * batch.tokens
    inside = Phase(hidden, 0, 3 * inputs.width * model.intermediate * batch.tokens)
    return [inside, Phase(hidden, _logits_at_once(inputs, batch), 0)] if inputs.language else [inside]
