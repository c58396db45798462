"""Metric curves as packed chunks: appending while a run trains, cutting after a resume, reading whole."""

import math
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from studio.catalog.models import CurveChunk, tuples
from studio.core.state import MetricSummary

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK_POINTS = 4096


class CurveBuffer:
    """Points that wait to be written, and the step after which stored points are superseded."""

    def __init__(self) -> None:
        self.cut: float = math.inf
        self._points: dict[str, tuple[array[float], array[float]]] = {}

    def add(self, metric: str, steps: Iterable[float], values: Iterable[float]) -> None:
        """Append the pairs of both lists; a longer list's surplus is left out, as the fold does."""
        known = self._points.get(metric)
        if known is None:
            known = self._points[metric] = (array("d"), array("d"))
        known[0].extend(steps)
        known[1].extend(values)
        shorter = min(len(known[0]), len(known[1]))
        del known[0][shorter:], known[1][shorter:]

    def cut_after(self, step: float) -> None:
        """Drop the points of later steps, here and when writing."""
        self.cut = min(self.cut, step)
        for steps, values in self._points.values():
            kept = bisect_right(steps, step)
            del steps[kept:], values[kept:]

    def write(self, run: int) -> None:
        """Store everything; call inside a transaction."""
        if self.cut < math.inf:
            _cut_stored(run, self.cut)
        for metric, (steps, values) in self._points.items():
            if steps:
                _append(run, metric, steps, values)
        self._points = {}


def read_curve(run: int, metric: str) -> "tuple[NDArray[Any], NDArray[Any]]":
    """Steps and values of a whole curve as float64 arrays; empty if there is none."""
    import numpy as np

    chunks = _chunks(run, metric)
    joined = [b"".join(bytes(chunk[part]) for chunk in chunks) for part in (0, 1)]
    return np.frombuffer(joined[0], dtype="<f8"), np.frombuffer(joined[1], dtype="<f8")


def metric_names(run: int) -> list[str]:
    """The metrics that have a curve, sorted."""
    rows = CurveChunk.select(CurveChunk.metric).where(CurveChunk.run == run).distinct().order_by(CurveChunk.metric)
    return [name for (name,) in tuples(rows)]


def summarise(run: int) -> dict[str, MetricSummary]:
    """Summaries of all curves from their points; needed after a cut, when the folded ones know too much."""
    summaries = {}
    for name in metric_names(run):
        summary = summaries[name] = MetricSummary()
        for steps, values in _chunks(run, name):
            for step, value in zip(_unpack(steps), _unpack(values), strict=True):
                summary.add(int(step), value)
    return summaries


def _chunks(run: int, metric: str) -> list[tuple[bytes, bytes]]:
    rows = CurveChunk.select(CurveChunk.steps, CurveChunk.values)
    return tuples(rows.where((CurveChunk.run == run) & (CurveChunk.metric == metric)).order_by(CurveChunk.key))


def _append(run: int, metric: str, steps: "array[float]", values: "array[float]") -> None:
    of_curve = (CurveChunk.run == run) & (CurveChunk.metric == metric)
    last = CurveChunk.select().where(of_curve).order_by(CurveChunk.key.desc()).first()
    if last is not None and last.points < CHUNK_POINTS:
        steps, values = _unpack(last.steps) + steps, _unpack(last.values) + values
        CurveChunk.delete().where(CurveChunk.key == last.key).execute()
    for start in range(0, len(steps), CHUNK_POINTS):
        part = slice(start, start + CHUNK_POINTS)
        CurveChunk.insert(run=run, metric=metric, **_columns(steps[part], values[part])).execute()


def _cut_stored(run: int, step: float) -> None:
    CurveChunk.delete().where((CurveChunk.run == run) & (CurveChunk.first_step > step)).execute()
    for chunk in CurveChunk.select().where((CurveChunk.run == run) & (CurveChunk.last_step > step)):
        steps, values = _unpack(chunk.steps), _unpack(chunk.values)
        kept = bisect_right(steps, step)
        CurveChunk.update(**_columns(steps[:kept], values[:kept])).where(CurveChunk.key == chunk.key).execute()


def _columns(steps: "array[float]", values: "array[float]") -> dict[str, object]:
    return {
        "first_step": steps[0], "last_step": steps[-1], "points": len(steps),
        "steps": _pack(steps), "values": _pack(values),
    }  # fmt: skip


def _pack(numbers: "array[float]") -> bytes:
    return _little_endian(numbers).tobytes()


def _unpack(blob: bytes) -> "array[float]":
    return _little_endian(array("d", bytes(blob)))


def _little_endian(numbers: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
