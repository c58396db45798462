"""Changes that would make a run fit, each tried out."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from studio.core.forecast import Advice
from studio.core.spec import BITS
from studio.estimate.inputs import EstimateInputs, Precision
from studio.estimate.needs import Needs

SHORTEST = 64  # tokens: shorter rows are hardly worth training on

Fits = Callable[[int], bool]


def advise(needs: Needs, fits: Fits) -> tuple[Advice, ...]:
    """Changes that save memory: those that suffice alone first, each group by what it costs the user.

    Args:
        fits: whether a run with this many bytes, before corrections, fits the device.
    """
    now = needs.parts.total
    found = [
        Advice(
            change=words,
            saves_bytes=now - bytes_,
            patch=patch,
            slower=round(needs.slower(changed), 2),
            fits=fits(bytes_),
        )
        for words, patch, changed in _changes(needs, fits)
        if (bytes_ := needs.bytes_of(changed)) < now
    ]
    return tuple(sorted(found, key=lambda advice: not advice.fits))


Change = tuple[str, dict[str, object], EstimateInputs]


def _changes(needs: Needs, fits: Fits) -> Iterator[Change]:
    """In the order of what they cost: time first, then precision, then what is learned."""
    inputs = needs.inputs
    yield from _smaller_batch(needs, fits)
    if not inputs.checkpointing:
        words = "recompute activations in the backward pass"
        yield words, {"train.checkpointing": True}, replace(inputs, checkpointing=True)
    if inputs.precision == "fp32" and (inputs.device.bf16 or inputs.device.kind == "cuda"):
        half: Precision = "bf16" if inputs.device.bf16 else "fp16"
        yield f"compute in {half}", {"train.precision": half}, replace(inputs, precision=half)
    yield from _fewer_bits(inputs)
    yield from _both(needs, fits)
    yield from _shorter_rows(needs, fits)
    yield from _higher_layers(inputs)


def _fewer_bits(inputs: EstimateInputs) -> Iterator[Change]:
    """The base's matrices in fewer bits, unless some of them are trained or already are."""
    packable = {site.path for site in inputs.packable}
    trained = any(decl.base == "weight" for site, decls in inputs.declared if site.path in packable for decl in decls)
    if inputs.quantization == "none" and packable and not trained:
        for kind in inputs.formats:
            words = f"hold the base in {BITS[kind]} bits"
            yield words, {"train.quantization": kind}, replace(inputs, quantization=kind)


def with_rows(inputs: EstimateInputs, rows: int) -> EstimateInputs:
    """The same run with another micro-batch, and so many accumulation steps that as many rows make a step."""
    return replace(
        inputs, micro_batch=rows, accumulation=-(-inputs.rows_per_step // rows), effective_batch=inputs.rows_per_step
    )


def _smaller_batch(needs: Needs, fits: Fits) -> Iterator[Change]:
    """The largest smaller micro-batch that fits, else one row."""
    inputs = needs.inputs
    sizes = [n for n in range(inputs.micro_batch - 1, 0, -1) if inputs.rows_per_step % n == 0]
    if not sizes:
        return
    size = next((n for n in sizes if fits(needs.bytes_of(with_rows(inputs, n)))), 1)
    yield f"micro-batch of {size}", {"train.micro_batch": size}, with_rows(inputs, size)


def _both(needs: Needs, fits: Fits) -> Iterator[Change]:
    """One row at a time and recomputation together, where neither alone is enough."""
    inputs = needs.inputs
    if inputs.checkpointing or inputs.micro_batch == 1:
        return
    alone = (replace(inputs, checkpointing=True), with_rows(inputs, 1))
    if not any(fits(needs.bytes_of(changed)) for changed in alone):
        patch: dict[str, object] = {"train.micro_batch": 1, "train.checkpointing": True}
        yield "one row at a time, with activations recomputed", patch, replace(alone[1], checkpointing=True)


def _shorter_rows(needs: Needs, fits: Fits) -> Iterator[Change]:
    """The longest rows that fit, among halvings."""
    inputs = needs.inputs
    longest = min(inputs.max_length, inputs.lengths.longest) if inputs.lengths else inputs.max_length
    lengths = [longest // 2**k for k in range(1, 12) if longest // 2**k >= SHORTEST]
    if not lengths:
        return
    length = next((n for n in lengths if fits(needs.bytes_of(replace(inputs, max_length=n)))), lengths[-1])
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
