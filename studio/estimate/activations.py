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
    """Bytes kept at the end of the forward pass, at most during the backward pass, and its temporaries.

    ``one_layer`` is what a whole layer makes, kept or not.
    """

    kept: int
    in_backward: int
    workspace: int
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
    outside = _outside_bytes(inputs, batch, footprint)
    if not sizes:
        return Activations(outside, outside, 0, 0)
    last_norm = 0 if family.post_norm else round(_norm_bytes(inputs, family) * batch.tokens)
    one_layer = round(max(sizes))
    workspace = round(_workspace_bytes(inputs, family, footprint) * batch.tokens)
    if inputs.checkpointing:
        hidden = inputs.width * inputs.model.hidden * batch.tokens * len(sizes)
        return Activations(hidden + outside + last_norm, hidden + outside + one_layer, workspace, one_layer)
    kept = round(sum(sizes)) + outside + last_norm
    return Activations(kept, kept, workspace, one_layer)


def _workspace_bytes(inputs: EstimateInputs, family: Family, footprint: Footprint) -> float:
    """Per token: gradients and temporaries in flight inside one layer.

    The feed-forward has gradients of two intermediates and of its input in flight; a recomputed layer holds
    the third intermediate too, unless that is kept anyway. A norm in fp32 holds three of the hidden size, five
    where it is the layer's last step.
    """
    model, width = inputs.model, inputs.width
    recomputed = inputs.checkpointing and not any(use.keeps_middle for use in footprint.layers.values())
    mlp = width * ((3 if recomputed else 2) * model.intermediate + model.hidden)
    return max(mlp, (5 if family.ends_with_norm else 3) * FP32 * model.hidden)


def layer_components(inputs: EstimateInputs, batch: Batch, family: Family) -> list[Component]:
    """What every layer keeps apart from the sites' own tensors, in bytes for the whole batch."""
    model, width, tokens = inputs.model, inputs.width, batch.tokens
    norm = _norm_bytes(inputs, family) * tokens
    after = 0.0 if family.norm == "rms" else 0.5  # LayerNorm keeps its input for its own weights too
    kept = [Component(stage + after, norm) for stage in family.norm_stages]
    kept.append(Component(2, _attention_bytes(inputs, batch, family)))
    kept.append(Component(5, family.mlp_kept * width * model.intermediate * tokens))
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
    grouped = model.kv_heads * model.head_dim
    keys = queries if masked else grouped
    values_are_a_view = family.fused_rotary and keys == grouped
    projection = queries + keys if values_are_a_view else 0
    mask = width * batch.length * tokens if masked else 0
    return (width * (2 * (queries + keys) + projection) + FP32 * model.heads) * tokens + mask


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
