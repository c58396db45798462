"""Changes that would make a run fit, each tried out on the formula."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from studio.core.forecast import Advice
from studio.estimate.inputs import EstimateInputs, Precision
from studio.estimate.memory import measure_memory

SHORTEST = 64  # tokens: shorter rows are hardly worth training on

Fits = Callable[[int], bool]


def advise(inputs: EstimateInputs, fits: Fits) -> tuple[Advice, ...]:
    """Changes that save memory: those that suffice alone first, each group by what it costs the user.

    Args:
        fits: whether a run with this many bytes, by the formula, fits the device.
    """
    now = measure_memory(inputs).total
    found = [
        Advice(change=words, saves_bytes=now - needed, patch=patch)
        for words, patch, changed in _changes(inputs, fits)
        if (needed := measure_memory(changed).total) < now
    ]
    return tuple(sorted(found, key=lambda advice: not fits(now - advice.saves_bytes)))


Change = tuple[str, dict[str, object], EstimateInputs]


def _changes(inputs: EstimateInputs, fits: Fits) -> Iterator[Change]:
    """In the order of what they cost: time first, then precision, then what is learned."""
    yield from _smaller_batch(inputs, fits)
    if not inputs.checkpointing:
        words = "recompute activations in the backward pass (about a third slower)"
        yield words, {"train.checkpointing": True}, replace(inputs, checkpointing=True)
    if inputs.precision == "fp32" and (inputs.device.bf16 or inputs.device.kind == "cuda"):
        half: Precision = "bf16" if inputs.device.bf16 else "fp16"
        yield f"compute in {half}", {"train.precision": half}, replace(inputs, precision=half)
    yield from _both(inputs, fits)
    yield from _shorter_rows(inputs, fits)
    yield from _higher_layers(inputs)


def _smaller_batch(inputs: EstimateInputs, fits: Fits) -> Iterator[Change]:
    """The largest smaller micro-batch that fits, else one row."""
    sizes = [n for n in range(inputs.micro_batch - 1, 0, -1) if inputs.rows_per_step % n == 0]
    if not sizes:
        return
    size = next((n for n in sizes if fits(measure_memory(_with_batch(inputs, n)).total)), 1)
    yield f"micro-batch of {size}", {"train.micro_batch": size}, _with_batch(inputs, size)


def _with_batch(inputs: EstimateInputs, size: int) -> EstimateInputs:
    rows = inputs.rows_per_step
    return replace(inputs, micro_batch=size, accumulation=-(-rows // size), effective_batch=rows)


def _both(inputs: EstimateInputs, fits: Fits) -> Iterator[Change]:
    """One row at a time and recomputation together, where neither alone is enough."""
    if inputs.checkpointing or inputs.micro_batch == 1:
        return
    alone = (replace(inputs, checkpointing=True), _with_batch(inputs, 1))
    if not any(fits(measure_memory(changed).total) for changed in alone):
        patch: dict[str, object] = {"train.micro_batch": 1, "train.checkpointing": True}
        yield "one row at a time, with activations recomputed", patch, replace(alone[1], checkpointing=True)


def _shorter_rows(inputs: EstimateInputs, fits: Fits) -> Iterator[Change]:
    """The longest rows that fit, among halvings."""
    longest = min(inputs.max_length, inputs.lengths.longest) if inputs.lengths else inputs.max_length
    lengths = [longest // 2**k for k in range(1, 12) if longest // 2**k >= SHORTEST]
    if not lengths:
        return
    length = next((n for n in lengths if fits(measure_memory(replace(inputs, max_length=n)).total)), lengths[-1])
    yield f"rows of at most {length} tokens", {"data.max_length": length}, replace(inputs, max_length=length)


def _higher_layers(inputs: EstimateInputs) -> Iterator[Change]:
    """Methods in the upper half alone: the backward pass ends there, and nothing below is kept."""
    half = inputs.model.layers // 2
    kept = [(site, decls) for site, decls in inputs.declared if site.layer is not None and site.layer >= half]
    if not inputs.wheres or not kept or len(kept) == len(inputs.declared):
        return
    patch: dict[str, object] = {
        f"method.placements.{index}.where": f"({where}) and layer >= {half}"
        for index, where in enumerate(inputs.wheres)
    }
    yield f"train only layers {half} and above", patch, replace(inputs, declared=tuple(kept))
