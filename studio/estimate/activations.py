"""Bytes that the forward pass keeps for the backward pass, layer by layer."""

from dataclasses import dataclass

from studio.estimate.attention import attention_bytes, keeps_output, map_scratch, uses_dropout
from studio.estimate.batches import Batch
from studio.estimate.families import Family
from studio.estimate.footprint import ATTENTION_OUT, FP32, MLP_MIDDLE, Footprint, LayerUse
from studio.estimate.inputs import EstimateInputs
from studio.estimate.packed import unpacking_bytes


@dataclass(frozen=True)
class Component:
    """Something a layer keeps if anything before ``stage`` is trained."""

    stage: float
    bytes_: float


@dataclass(frozen=True)
class Activations:
    """Bytes kept at the end of the forward pass, at the first and the last layer of the backward pass, temporaries.

    ``one_layer`` is what a whole layer makes, kept or not.
    """

    kept: int
    in_backward: int
    at_end: int
    workspace: int
    one_layer: int


def measure_activations(inputs: EstimateInputs, batch: Batch, family: Family, footprint: Footprint) -> Activations:
    """What the forward pass over one micro-batch keeps."""
    if not inputs.backbone_grad:
        beside = footprint.use_of(None).bytes_once(inputs.width) + inputs.width * footprint.side * batch.tokens
        return Activations(beside, beside, 0, 0, 0)
    outside = _outside_bytes(inputs, batch, footprint)
    sizes = _layer_sizes(inputs, batch, family, footprint)
    if not sizes:
        return Activations(outside, outside, outside, 0, 0)
    last_norm = 0 if family.post_norm else round(_norm_bytes(inputs, family) * batch.tokens)
    one_layer = round(max(sizes))
    workspace = round(_workspace_bytes(inputs, batch, family, footprint))
    hidden = inputs.width * inputs.model.hidden * batch.tokens
    if inputs.checkpointing:
        held = hidden * len(sizes) + outside
        return Activations(held + last_norm, held + one_layer, hidden + one_layer, workspace, one_layer)
    kept = round(sum(sizes)) + outside + last_norm
    return Activations(kept, kept, round(sizes[0]), workspace, one_layer)


def _workspace_bytes(inputs: EstimateInputs, batch: Batch, family: Family, footprint: Footprint) -> float:
    """Gradients and temporaries in flight inside one layer, at its highest moment.

    A norm in fp32 holds three of the hidden size, five where it is the layer's last step; experts gather their
    tokens and scatter the gradients. Where a packed matrix is there unpacked, the product's output is not yet.
    """
    model, width = inputs.model, inputs.width
    norm = (5 if family.ends_with_norm else 3) * FP32 * model.hidden
    gathered = model.active_experts * model.hidden * 2 * width if model.active_experts > 1 else 0
    maps = map_scratch(inputs, batch, family) - width * _mlp_scalars(inputs, family)  # which are gone by then
    mlp = _mlp_scratch(inputs, family, footprint) + gathered
    highest = max(mlp, _gate_scratch(inputs, family), norm, maps) * batch.tokens
    if inputs.quantization == "none":
        return highest
    output = width * model.active_experts * model.intermediate
    return max(highest, (mlp - output) * batch.tokens + unpacking_bytes(inputs))


def _mlp_scratch(inputs: EstimateInputs, family: Family, footprint: Footprint) -> float:
    """Per token: gradients of the intermediates and of the input in flight.

    A recomputed layer holds the third intermediate too, unless that is kept anyway.
    """
    model = inputs.model
    recomputed = inputs.checkpointing and not footprint.keeps_middle
    middles = family.mlp_scratch + (1 if recomputed else 0)
    middle = model.active_experts * model.intermediate
    summed = _wide_sum(inputs) * model.intermediate  # of one expert at a time
    return inputs.width * (middles * middle + model.hidden) + summed


def _gate_scratch(inputs: EstimateInputs, family: Family) -> float:
    """Per token, where one map makes gate and up and the layer is recomputed: its sum and what is added to it.

    The intermediates after it are not there yet.
    """
    if not (family.fused_gate and inputs.checkpointing):
        return 0
    middle = inputs.model.active_experts * inputs.model.intermediate
    return middle * (2 * _wide_sum(inputs) + (4 - family.mlp_kept) * inputs.width)


def _wide_sum(inputs: EstimateInputs) -> int:
    """Bytes by scalar of the buffer in which a CPU with AVX-512 but no instructions for bf16 sums a product up."""
    return FP32 if inputs.precision == "bf16" and inputs.device.avx512 and not inputs.device.bf16 else 0


def layer_components(inputs: EstimateInputs, batch: Batch, family: Family) -> list[Component]:
    """What every layer keeps apart from the sites' own tensors, in bytes for the whole batch."""
    model, width, tokens = inputs.model, inputs.width, batch.tokens
    norm = _norm_bytes(inputs, family) * tokens
    kept = [Component(stage + 0.5, norm) for stage in family.norm_stages]  # its input, for its own weights too
    kept.append(Component(2, attention_bytes(inputs, batch, family) * tokens))
    kept.append(Component(5, width * _mlp_scalars(inputs, family) * tokens))
    if family.qk_norm:
        heads = model.heads + model.kv_heads
        kept.append(Component(1.05, heads * (width * model.head_dim + FP32) * tokens))
    if uses_dropout(inputs, family):
        by_torch = inputs.device.kind == "cpu" and family.functional_dropout
        mask = (width if by_torch else 1) * model.hidden * tokens
        kept += [Component(2.5, mask), Component(5.5, mask)]
    return kept


def _mlp_scalars(inputs: EstimateInputs, family: Family) -> int:
    """Per token: its intermediates; each expert that sees a token has its own, and its output to weigh."""
    model = inputs.model
    own = family.mlp_kept * model.intermediate
    return own if model.active_experts == 1 else model.active_experts * (own + model.hidden)


def _norm_bytes(inputs: EstimateInputs, family: Family) -> float:
    """Per token: a norm keeps its input and what it divides it by; LayerNorm the mean as well."""
    return inputs.width * inputs.model.hidden + (FP32 if family.norm == "rms" else 2 * inputs.width)


def _layer_sizes(inputs: EstimateInputs, batch: Batch, family: Family, footprint: Footprint) -> list[float]:
    """Bytes that each layer keeps from the lowest trained one on; layers that are alike are computed once."""
    components = layer_components(inputs, batch, family)
    lowest, stage = footprint.lowest
    alike: dict[tuple[LayerUse, float], float] = {}
    sizes = []
    for layer in range(inputs.model.layers):
        if layer < lowest:
            continue
        key = footprint.use_of(layer), stage if layer == lowest else -1.0
        if key not in alike:
            alike[key] = _layer_bytes(inputs, batch, family, components, *key)
        sizes.append(alike[key])
    return sizes


def _layer_bytes(
    inputs: EstimateInputs, batch: Batch, family: Family, components: list[Component], own: LayerUse, stage: float
) -> float:
    scalars = own.kept + _input_scalars(inputs, batch, family, own, stage)
    common = sum(component.bytes_ for component in components if component.stage > stage)
    return common + inputs.width * scalars * batch.tokens + own.bytes_once(inputs.width)


def _input_scalars(inputs: EstimateInputs, batch: Batch, family: Family, own: LayerUse, stage: float) -> int:
    """Per token: the inputs that sites keep, but for those that the backward pass keeps anyway."""
    there = set()
    if stage < ATTENTION_OUT and keeps_output(inputs, batch, family):
        there.add(ATTENTION_OUT)
    if stage < MLP_MIDDLE and family.relu:
        there.add(MLP_MIDDLE)
    return sum(size for reader, size in own.inputs if reader not in there)


def _outside_bytes(inputs: EstimateInputs, batch: Batch, footprint: Footprint) -> int:
    """What sites outside the layers keep: embeddings, last norm, head."""
    own = footprint.use_of(None)
    return inputs.width * own.kept * batch.tokens + own.bytes_once(inputs.width)
