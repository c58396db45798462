"""One growing curve in preallocated buffers, and its smoothed twin."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Series:
    """x and y of one curve; appending is amortised, reading is a view without a copy."""

    def __init__(self, capacity: int = 1024) -> None:
        self._x = np.empty(capacity)
        self._y = np.empty(capacity)
        self._length = 0
        self._bad = 0

    def __len__(self) -> int:
        return self._length

    @property
    def x(self) -> Floats:
        return self._x[: self._length]

    @property
    def y(self) -> Floats:
        return self._y[: self._length]

    @property
    def bad(self) -> int:
        """How many values are NaN or infinite."""
        return self._bad

    @property
    def last(self) -> float:
        return float(self._y[self._length - 1]) if self._length else math.nan

    def extend(self, x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> None:
        """Append points; the longer of the two is cut to the shorter."""
        count = min(len(x), len(y))
        end = self._length + count
        if end > len(self._x):
            self._grow(end)
        self._x[self._length : end] = x[:count]
        self._y[self._length : end] = y[:count]
        self._bad += int(count - np.isfinite(self._y[self._length : end]).sum())
        self._length = end

    def cut_after(self, x: float) -> None:
        """Drop the points beyond ``x``, which a resumed run writes anew."""
        self._length = int((self.x <= x).sum())
        self._bad = int(self._length - np.isfinite(self.y).sum())

    def clear(self) -> None:
        self._length = self._bad = 0

    def keep_last(self, span: float) -> None:
        """Drop points whose x lies more than ``span`` before the last one."""
        if not self._length:
            return
        start = int(np.searchsorted(self.x, self.x[-1] - span))
        if start:
            kept_x, kept_y = self.x[start:].copy(), self.y[start:].copy()
            self.clear()
            self.extend(kept_x, kept_y)

    def _grow(self, needed: int) -> None:
        capacity = max(needed, 2 * len(self._x))
        for name in ("_x", "_y"):
            grown = np.empty(capacity)
            grown[: self._length] = getattr(self, name)[: self._length]
            setattr(self, name, grown)


class Smoothed:
    """The exponential moving average of a series, kept up with it point by point.

    ``weight`` 0 leaves the curve as it is, 0.99 is very smooth. The average starts unbiased (divided by the
    weight seen so far), and values that are not finite are passed over.
    """

    def __init__(self, source: Series, weight: float = 0.9) -> None:
        self._source = source
        self.weight = weight
        self._series = Series()
        self._restart()

    @property
    def x(self) -> Floats:
        return self._series.x

    @property
    def y(self) -> Floats:
        return self._series.y

    @property
    def last(self) -> float:
        return self._series.last

    def set_weight(self, weight: float) -> None:
        self.weight = weight
        self._restart()
        self.update()

    def update(self) -> None:
        """Follow the source: average new points, or start over if it was cut."""
        done = len(self._series)
        if done > len(self._source):
            self._restart()
            done = 0
        fresh = self._source.y[done:]
        if len(fresh):
            self._series.extend(self._source.x[done:], self._average(fresh))

    def _restart(self) -> None:
        self._series.clear()
        self._sum = self._seen = 0.0

    def _average(self, values: Floats) -> list[float]:
        weight, total, seen, averages = self.weight, self._sum, self._seen, []
        for value in values.tolist():
            if math.isfinite(value):
                total = weight * total + (1 - weight) * value
                seen = weight * seen + (1 - weight)
            averages.append(total / seen if seen else math.nan)
        self._sum, self._seen = total, seen
        return averages
