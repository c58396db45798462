"""Bytes that the forward pass keeps for the backward pass, layer by layer."""

from dataclasses import dataclass

from studio.estimate.batches import Batch
from studio.estimate.families import Family
from studio.estimate.footprint import Footprint
from studio.estimate.inputs import EstimateInputs

FP32 = 4


@dataclass(frozen=True)
class Component:
    """Something a layer keeps if anything before ``stage`` is trained."""

    stage: float
    bytes_: float


@dataclass(frozen=True)
class Activations:
    """Bytes kept at the end of the forward pass, and the most that one layer keeps while it is recomputed."""

    kept: int
    one_layer: int


def measure_activations(inputs: EstimateInputs, batch: Batch, family: Family, footprint: Footprint) -> Activations:
    """What the forward pass over one micro-batch keeps."""
    layers = inputs.model.layers
    components = layer_components(inputs, batch, family)
    sizes = [
        _layer_bytes(inputs, batch, components, footprint, layer)
        for layer in range(layers)
        if layer >= footprint.lowest[0]
    ]
    if not sizes:
        return Activations(_outside_bytes(inputs, batch, footprint), 0)
    last_norm = 0.0 if family.post_norm else _norm_bytes(inputs, family) * batch.tokens
    outside = last_norm + _outside_bytes(inputs, batch, footprint)
    if inputs.checkpointing:
        hidden = inputs.width * inputs.model.hidden * batch.tokens
        return Activations(round(hidden * len(sizes) + outside), round(max(sizes)))
    return Activations(round(sum(sizes) + outside), round(max(sizes)))


def layer_components(inputs: EstimateInputs, batch: Batch, family: Family) -> list[Component]:
    """What every layer keeps apart from the sites' own tensors, in bytes for the whole batch."""
    model, width, tokens = inputs.model, inputs.width, batch.tokens
    norm = _norm_bytes(inputs, family) * tokens
    after = 0.0 if family.norm == "rms" else 0.5  # LayerNorm keeps its input for its own weights too
    first, second = (3, 6) if family.post_norm else (0, 3)
    kept = [
        Component(first + after, norm),
        Component(2, _attention_bytes(inputs, batch, family)),
        Component(second + after, norm),
        Component(5, family.mlp_kept * width * model.intermediate * tokens),
    ]
    if family.norms == 4:
        kept += [Component(2.5 + after, norm), Component(5.5 + after, norm)]
    if family.qk_norm:
        heads = model.heads + model.kv_heads
        kept.append(Component(1.05, FP32 * (heads * model.head_dim + heads) * tokens))
    if uses_dropout(inputs, family):
        mask = (width if inputs.device.kind == "cpu" else 1) * model.hidden * tokens
        kept += [Component(2.5, mask), Component(5.5, mask)]
    return kept


def uses_dropout(inputs: EstimateInputs, family: Family) -> bool:
    """Whether the base model's own dropout is on."""
    return family.dropout if inputs.dropout is None else inputs.dropout


def _norm_bytes(inputs: EstimateInputs, family: Family) -> float:
    """Per token: RMSNorm keeps its input in fp32 whatever the precision, LayerNorm keeps it as it is."""
    hidden = inputs.model.hidden
    return FP32 * hidden + FP32 if family.norm == "rms" else inputs.width * hidden + 2 * inputs.width


def _attention_bytes(inputs: EstimateInputs, batch: Batch, family: Family) -> float:
    """Queries, keys, values, output and log-sum-exp of fused attention, and the mask made for each layer.

    With a mask, keys and values are repeated for grouped queries. CPU kernels cannot drop attention weights,
    so with dropout the plain implementation keeps three maps and its operands, all in fp32.
    """
    model, width, tokens = inputs.model, inputs.width, batch.tokens
    queries = model.heads * model.head_dim
    if uses_dropout(inputs, family) and inputs.device.kind == "cpu":
        return (3 * FP32 * model.heads * batch.length + 3 * FP32 * queries) * tokens
    masked = inputs.packing or (inputs.masked and batch.rows > 1)
    keys = queries if masked else model.kv_heads * model.head_dim
    mask = width * batch.length * tokens if masked else 0
    return (width * 2 * (queries + keys) + FP32 * model.heads) * tokens + mask


def _layer_bytes(
    inputs: EstimateInputs, batch: Batch, components: list[Component], footprint: Footprint, layer: int
) -> float:
    lowest_layer, lowest_stage = footprint.lowest
    stage = lowest_stage if layer == lowest_layer else -1.0
    own = footprint.use_of(layer)
    casts = own.cast * inputs.width if inputs.width != FP32 else 0
    return sum(c.bytes_ for c in components if c.stage > stage) + inputs.width * own.kept * batch.tokens + casts


def _outside_bytes(inputs: EstimateInputs, batch: Batch, footprint: Footprint) -> int:
    """What sites outside the layers keep: embeddings, last norm, head."""
    own = footprint.use_of(None)
    casts = own.cast * inputs.width if inputs.width != FP32 else 0
    return round(inputs.width * own.kept * batch.tokens + casts)
