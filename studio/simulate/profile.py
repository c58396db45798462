"""From a few traces of a step to its peaks for any number of rows and blocks."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.api import Site
from studio.core.plan import Plan
from studio.engine.evaluate import LEAST_ROWS_AT_ONCE
from studio.engine.session import placements_of
from studio.estimate.profile import MemoryProfile, Moment, Operations, Polynomial, Segment
from studio.extensions.declaring import declare_at
from studio.models.config import read_config
from studio.simulate.allocator import reserved_peak
from studio.simulate.emulator import Flavour
from studio.simulate.stand_in import Shape, model_sites
from studio.simulate.trace import KINDS, Trace, trace

SHALLOW, DEEP = 2, 3  # blocks; one block alone is not yet like the others
LEAST_CUT = 5  # blocks: shallower models are simulated as they are
ROWS = tuple(sorted({*range(1, 65), *(2**k for k in range(7, 13)), *(3 * 2**k for k in range(5, 11))}))
RESERVED_ROWS = (2, 4, 8, 16, 32, 64)
GRADIENTS = KINDS.index("gradients")
MICRO_BATCH = ("forward", "backward, upper half", "backward, lower half")
Floats = NDArray[np.float64]


class UnlikeTracesError(Exception):
    """The same step over more rows did other things: its size is no function of the rows."""


def simulate(plan: Plan, *, length: int, trained: int, flavour: Flavour, alone: bool = False) -> MemoryProfile:
    """The memory of the plan's step over rows of ``length`` tokens, of which ``trained`` carry loss.

    For any number of rows from two on, or for one row ``alone``.
    """
    if plan.packing and flavour.kind == "cuda":
        # masks are laid out at multiples of 16 elements, sums of a query's weights at multiples of 32
        length = -(-length // 32) * 32
    sites = model_sites(plan.model_path, plan.model_fingerprint)
    depth = 1 + max((site.layer for site in sites if site.layer is not None), default=0)
    cut = (SHALLOW, DEEP) if depth >= LEAST_CUT and is_uniform(plan, sites) else (None,)
    rows = (1,) if alone else (2, 3)
    with undisturbed():
        traces = [[_trace(plan, count, layers, length, trained, flavour) for count in rows] for layers in cut]
        if traces[0][0].masks_packed and not alone:  # such a mask grows with the square of the rows
            for found, layers in zip(traces, cut, strict=True):
                found.append(_trace(plan, rows[-1] + 1, layers, length, trained, flavour))
    return MemoryProfile(
        layers=depth,
        shallow_layers=depth if len(cut) == 1 else SHALLOW,
        deep_layers=depth if len(cut) == 1 else DEEP,
        alone=alone,
        segments=_segments(traces, rows[0]),
        length=length,
        reserved=_reserved(traces[-1], rows[0]) if flavour.kind == "cuda" else (),
        operations=Operations(shallow=_operations(traces[0], rows[0]), deep=_operations(traces[-1], rows[0])),
    )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the cycle collector, so that tensors go when nothing refers to them and at no other time."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def is_uniform(plan: Plan, sites: Sequence[Site]) -> bool:
    """Whether all blocks are alike, in themselves and in the tensors that are placed there."""
    at: dict[str, list[Any]] = {}
    for index, item in enumerate(placements_of(plan, sites)):
        for site, decls in declare_at(item.method, item.params, item.sites, item.gate):
            at.setdefault(site.path, []).append((index, *(decl.shape for decl in decls)))
    blocks: dict[int, list[Any]] = {}
    for site in sites:
        if site.layer is not None:
            blocks.setdefault(site.layer, []).append(_looks(site, at.get(site.path, ())))
    config = read_config(Path(plan.model_path))
    by_block = [value for value in config.values() if isinstance(value, list) and len(value) == len(blocks)]
    return len({tuple(looks) for looks in blocks.values()}) == 1 and all(
        all(of_block == value[0] for of_block in value) for value in by_block
    )


def _looks(site: Site, placed: Sequence[Any]) -> tuple[Any, ...]:
    return site.kind, site.role, site.shape, site.has_bias, site.copies, tuple(placed)


def _trace(plan: Plan, rows: int, layers: int | None, length: int, trained: int, flavour: Flavour) -> Trace:
    shape = Shape(rows, length, trained, uneven=rows > 1 and not plan.packing)
    return trace(plan, shape, flavour, layers=layers, held_out=LEAST_ROWS_AT_ONCE if rows == 1 else rows)


def _segments(by_depth: Sequence[Sequence[Trace]], start: int) -> tuple[Segment, ...]:
    moments = [_moments(traces, start) for traces in by_depth]
    return tuple(
        Segment(name=name, accumulating=accumulating, shallow=found, deep=moments[-1][name, accumulating])
        for (name, accumulating), found in moments[0].items()
    )


def _moments(traces: Sequence[Trace], start: int) -> dict[tuple[str, bool], tuple[Moment, ...]]:
    """The highest moments of each segment of a step, from traces over rows that differ by one.

    True marks those of a later micro-batch, over which the gradients of earlier ones are held.
    """
    first = traces[0]
    if any(not np.array_equal(first.events, other.events) for other in traces[1:]):
        raise UnlikeTracesError("the step over more rows makes and frees other tensors")
    coefficients = _coefficients(traces, start)  # (storages, 3)
    numbers, signs = np.abs(first.events) - 1, np.sign(first.events)
    kinds = np.asarray([KINDS.index(kind) for kind in first.kinds])
    limits = np.unique([np.inf, *first.most])[::-1]
    of_limit = np.searchsorted(-limits, -first.most)
    deltas = np.zeros((len(numbers), len(limits), len(KINDS), 3))
    deltas[np.arange(len(numbers)), of_limit[numbers], kinds[numbers]] = coefficients[numbers] * signs[:, None]
    held = np.cumsum(deltas, axis=0)
    later = held.copy()
    at_optimizer = dict(first.marks)["optimizer"] - 1
    later[:, 0, GRADIENTS] = held[at_optimizer, 0, GRADIENTS] + deltas[:, 0, GRADIENTS].clip(0)
    found: dict[tuple[str, bool], list[Floats]] = {}  # a name comes again where a method adds to the loss
    for name, begin, end in bounds(first.marks, len(numbers)):
        found.setdefault((name, False), []).append(held[begin:end])
        if name in MICRO_BATCH:
            found.setdefault((name, True), []).append(later[begin:end])
    return {key: _highest(np.concatenate(parts), limits) for key, parts in found.items() if sum(map(len, parts))}


def _reserved(traces: Sequence[Trace], start: int) -> tuple[tuple[int, float], ...]:
    """What CUDA's allocator reserves by what it hands out, for some numbers of rows."""
    events = traces[0].events
    coefficients = _coefficients(traces, start)
    found = []
    for rows in (1,) if start == 1 else RESERVED_ROWS:
        sizes = (coefficients * np.vander(np.minimum(rows, traces[0].most), 3, increasing=True)).sum(axis=1)
        held = np.cumsum(sizes[np.abs(events) - 1] * np.sign(events)).max()
        found.append((rows, reserved_peak(sizes.astype(np.int64), events) / held))
    return tuple(found)


def _coefficients(traces: Sequence[Trace], start: int) -> Floats:
    """Polynomials (storages, 3) of what the traces hold; what no longer grows is as large as in the last."""
    found = fit([trace.sizes for trace in traces], start)
    grown = traces[0].most < start + len(traces) - 1
    found[grown] = 0.0
    found[grown, 0] = traces[-1].sizes[grown]
    return found


def fit(sizes: Sequence[NDArray[np.int64]], start: int) -> Floats:
    """Polynomials (storages, 3) through sizes at ``start``, ``start`` + 1, … rows."""
    rows = np.arange(start, start + len(sizes), dtype=np.float64)
    powers = np.vander(rows, len(sizes), increasing=True)
    found = np.linalg.solve(powers, np.asarray(sizes, dtype=np.float64)).T
    return np.pad(found, ((0, 0), (0, 3 - found.shape[1])))


def _highest(held: Floats, limits: Floats) -> tuple[Moment, ...]:
    """The moments of (moments, limits, kinds, 3) that are the highest for some number of rows."""
    totals = sum(
        held[:, i].sum(axis=1) @ np.vander(np.minimum(ROWS, limit), 3, increasing=True).T
        for i, limit in enumerate(limits)
    )
    return tuple(_moment(held[at], limits) for at in np.unique(np.asarray(totals).argmax(axis=0)))


def _moment(held: Floats, limits: Floats) -> Moment:
    every = [{kind: tuple(each[i].tolist()) for i, kind in enumerate(KINDS)} for each in held]
    some = zip(limits.tolist(), every, strict=True)
    return Moment(kinds=every[0], limited=tuple((limit, kinds) for limit, kinds in some if limit < np.inf))


def bounds(marks: Sequence[tuple[str, int]], end: int) -> Iterator[tuple[str, int, int]]:
    """Where the segments of a trace begin and end; the backward pass is two."""
    for (name, start), (_, stop) in pairwise([*marks, ("", end)]):
        if name == "backward":
            middle = (start + stop) // 2
            yield MICRO_BATCH[1], start, middle
            yield MICRO_BATCH[2], middle, stop
        elif name in (MICRO_BATCH[0], "optimizer", "eval"):
            yield name, start, stop


def _operations(traces: Sequence[Trace], start: int) -> Polynomial:
    each = [np.asarray([trace.flops.get("forward", 0) + trace.flops.get("backward", 0)]) for trace in traces]
    return tuple(fit(each, start)[0].tolist())
