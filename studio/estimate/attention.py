"""Bytes per token that attention keeps for its backward pass, in each of the ways in which it is computed."""

from studio.core.attention import MOST_WEIGHTS, rows_together
from studio.core.facts import DeviceFacts
from studio.estimate.batches import Batch
from studio.estimate.families import Family
from studio.estimate.footprint import Declared
from studio.estimate.inputs import EstimateInputs

FP32 = 4


def uses_dropout(inputs: EstimateInputs, family: Family) -> bool:
    """Whether the base model's own dropout is on."""
    return family.dropout if inputs.dropout is None else inputs.dropout


def attends_by_row(inputs: EstimateInputs, family: Family) -> bool:
    """Whether packed rows are attended to one by one."""
    return inputs.packing and packs_by_row(inputs.device, family, inputs.declared, dropout=inputs.dropout)


def packs_by_row(device: DeviceFacts, family: Family, declared: Declared, *, dropout: bool | None = None) -> bool:
    """Whether rows, if they are packed, are attended to one by one; keys put before a row's own need a mask."""
    drops = family.attention_dropout and (family.dropout if dropout is None else dropout)
    return device.kind == "cpu" and family.attention == "fused" and not (drops or _is_prefixed(declared))


def _is_prefixed(declared: Declared) -> bool:
    return any(site.kind == "attention" for site, decls in declared if decls)


def kernel_of(inputs: EstimateInputs, family: Family) -> tuple[str, str]:
    """How attention is computed, and why so."""
    model = inputs.model.model_type
    if family.attention != "fused":
        return "written out", f"no fused kernel computes the scores of {model}"
    if attends_by_row(inputs, family):
        return "by row", "packed rows keep to themselves without a mask; short ones in half precision by products"
    if _drops_in_one_step(inputs, family):
        return "dropping", f"{model} drops attention weights: a byte is kept of each, instead of three maps"
    if not _is_fused(inputs, family):
        why = "drops attention weights" if _drops_weights(inputs, family) else "shares one head of keys"
        return "written out", f"{model} {why}, which no fused kernel does here"
    if inputs.device.kind == "cuda" and (inputs.masked or inputs.width == FP32):
        return "memory-efficient", "torch's flash kernel takes no mask and no fp32; this one keeps no weights either"
    return "flash", "torch's fastest kernel, which keeps no attention weights"


def keeps_output(inputs: EstimateInputs, batch: Batch, family: Family) -> bool:
    """Whether attention keeps its output itself, so that the output projection's input costs nothing more."""
    return _is_fused(inputs, family) and not family.output_copied and not _writes_out(inputs, batch, family)


def attention_bytes(inputs: EstimateInputs, batch: Batch, family: Family) -> float:
    """Operands and maps, of attention weights by head and key, per token."""
    if _is_fused(inputs, family):
        return _fused_bytes(inputs, batch, family)
    if _drops_in_one_step(inputs, family):
        return 3 * inputs.width * _queries(inputs) + inputs.model.heads * batch.width
    keys = batch.tokens if batch.packed else batch.width
    scalar = FP32 if family.attention == "fused" else inputs.width
    operands = 3 * scalar * _queries(inputs)
    if family.attention == "disentangled":
        operands += inputs.width * (_queries(inputs) + 2 * inputs.model.heads * inputs.model.relative_positions)
    return operands + _map_bytes(inputs, family) * inputs.model.heads * keys


def map_scratch(inputs: EstimateInputs, batch: Batch, family: Family) -> float:
    """Per token: a map's gradient before and after the softmax; fused attention has none.

    Where packed rows are attended to a few at a time with written-out weights, those of a few and their gradients.
    Where weights are dropped in one step, they are made anew for it as well.
    """
    heads = inputs.model.heads
    if _drops_in_one_step(inputs, family):
        return 3 * FP32 * heads * batch.width
    if _writes_out(inputs, batch, family):
        together = min(batch.rows, rows_together(batch.width, heads))
        return 3 * FP32 * heads * batch.width * together / batch.rows
    if _is_fused(inputs, family):
        return 0
    return 2 * FP32 * heads * (batch.tokens if batch.packed else batch.width)


def _writes_out(inputs: EstimateInputs, batch: Batch, family: Family) -> bool:
    """Whether rows that are attended to one by one write their weights out: short ones in half precision."""
    short = FP32 * inputs.model.heads * batch.width**2 <= MOST_WEIGHTS
    return attends_by_row(inputs, family) and inputs.width < FP32 and short


def _is_fused(inputs: EstimateInputs, family: Family) -> bool:
    """CPU kernels cannot drop attention weights, and no kernel shares one head of keys without repeating it."""
    drops = _drops_weights(inputs, family) and inputs.device.kind == "cpu"
    return family.attention == "fused" and not drops and not (family.single_keys and inputs.model.kv_heads == 1)


def _drops_in_one_step(inputs: EstimateInputs, family: Family) -> bool:
    """Whether attention's operands are kept and a byte a weight, not the weights: on a CPU, of rows not packed."""
    fits = family.attention == "fused" and inputs.model.kv_heads == inputs.model.heads
    here = inputs.device.kind == "cpu" and not inputs.packing and not _is_prefixed(inputs.declared)
    return fits and here and _drops_weights(inputs, family)


def _drops_weights(inputs: EstimateInputs, family: Family) -> bool:
    return family.attention_dropout and uses_dropout(inputs, family)


def _queries(inputs: EstimateInputs) -> int:
    return inputs.model.heads * inputs.model.head_dim


def _fused_bytes(inputs: EstimateInputs, batch: Batch, family: Family) -> float:
    """Queries, keys, values, output and log-sum-exp, and the mask made for each layer.

    With a mask, keys and values are repeated for grouped queries. Weights that are written out need no output.
    """
    model, width, queries = inputs.model, inputs.width, _queries(inputs)
    masked = not attends_by_row(inputs, family) if batch.packed else inputs.masked and batch.rows > 1
    grouped = model.kv_heads * model.head_dim
    keys = queries if masked else grouped
    values_are_a_view = family.fused_rotary and keys == grouped
    projection = queries + keys if values_are_a_view else 0
    mask = width * (batch.tokens if batch.packed else batch.width) if masked else 0
    result = 0 if _writes_out(inputs, batch, family) else width * queries + FP32 * model.heads
    return width * (queries + 2 * keys + projection) + result + mask


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
