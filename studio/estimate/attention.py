"""Bytes per token that attention keeps for its backward pass, in each of the ways in which it is computed."""

from studio.estimate.batches import Batch
from studio.estimate.families import Family
from studio.estimate.inputs import EstimateInputs

FP32 = 4


def uses_dropout(inputs: EstimateInputs, family: Family) -> bool:
    """Whether the base model's own dropout is on."""
    return family.dropout if inputs.dropout is None else inputs.dropout


def keeps_output(inputs: EstimateInputs, family: Family) -> bool:
    """Whether attention keeps its output itself, so that the output projection's input costs nothing more."""
    return _is_fused(inputs, family) and not family.output_copied


def attention_bytes(inputs: EstimateInputs, batch: Batch, family: Family) -> float:
    """Operands and maps, of attention weights by head and key, per token."""
    if _is_fused(inputs, family):
        return _fused_bytes(inputs, batch, family)
    scalar = FP32 if family.attention == "fused" else inputs.width
    operands = 3 * scalar * _queries(inputs)
    if family.attention == "disentangled":
        operands += inputs.width * (_queries(inputs) + 2 * inputs.model.heads * inputs.model.relative_positions)
    return operands + _map_bytes(inputs, family) * inputs.model.heads * batch.width


def map_scratch(inputs: EstimateInputs, batch: Batch, family: Family) -> float:
    """Per token: a map's gradient before and after the softmax; fused attention has none."""
    if _is_fused(inputs, family):
        return 0
    return 2 * FP32 * inputs.model.heads * batch.width


def _is_fused(inputs: EstimateInputs, family: Family) -> bool:
    """CPU kernels cannot drop attention weights, and no kernel shares one head of keys without repeating it."""
    drops = _drops_weights(inputs, family) and inputs.device.kind == "cpu"
    return family.attention == "fused" and not drops and not (family.single_keys and inputs.model.kv_heads == 1)


def _drops_weights(inputs: EstimateInputs, family: Family) -> bool:
    return family.attention_dropout and uses_dropout(inputs, family)


def _queries(inputs: EstimateInputs) -> int:
    return inputs.model.heads * inputs.model.head_dim


def _fused_bytes(inputs: EstimateInputs, batch: Batch, family: Family) -> float:
    """Queries, keys, values, output and log-sum-exp, and the mask made for each layer.

    With a mask, keys and values are repeated for grouped queries.
    """
    model, width, queries = inputs.model, inputs.width, _queries(inputs)
    masked = inputs.packing or (inputs.masked and batch.rows > 1)
    grouped = model.kv_heads * model.head_dim
    keys = queries if masked else grouped
    values_are_a_view = family.fused_rotary and keys == grouped
    projection = queries + keys if values_are_a_view else 0
    mask = width * batch.width if masked else 0
    return width * (2 * (queries + keys) + projection) + FP32 * model.heads + mask


def _map_bytes(inputs: EstimateInputs, family: Family) -> int:
    """Of one attention weight: the softmax, what comes before and after it, and the dropped weights.

    Plain attention computes in fp32; written-out softmax is in fp32 and cast back, that of disentangled attention
    in the compute precision.
    """
    width = inputs.width
    cast = width if width != FP32 else 0
    kept = {"fused": FP32, "capped": width + FP32 + cast, "written": FP32 + cast, "disentangled": width}
    scalar = FP32 if family.attention == "fused" else width
    mask = scalar if inputs.device.kind == "cpu" else 1
    return kept[family.attention] + (mask + scalar if _drops_weights(inputs, family) else 0)
