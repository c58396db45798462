"""The curves of one run as the screen holds them, fed batch by batch."""

import numpy as np

from studio.core.state import RunSnapshot
from studio.gui.plots.series import Floats, Series, Smoothed
from studio.gui.screens.live.tail import DEVICE_CURVES, Batch

TIME_CURVES = frozenset({*DEVICE_CURVES, "allocated_bytes"})
EVAL_METRIC = "loss"
_NOTHING = Series(1)


class RunCurves:
    """Every metric as a series over steps, device readings over seconds, evals from the snapshot."""

    def __init__(self, smoothing: float = 0.9) -> None:
        self.series: dict[str, Series] = {}
        self.loss = self._made("loss")
        self.smooth_loss = Smoothed(self.loss, smoothing)
        self.eval_steps: Floats = np.empty(0)
        self.eval_values: Floats = np.empty(0)

    def apply(self, batch: Batch) -> set[str]:
        """Take a batch in; the names of the curves that changed."""
        changed = set(batch.points)
        if batch.cut_after is not None:
            for name, series in self.series.items():
                if name not in TIME_CURVES:
                    series.cut_after(batch.cut_after)
                    changed.add(name)
            self.smooth_loss.set_weight(self.smooth_loss.weight)
        for name, (x, y) in batch.points.items():
            self._made(name).extend(x, y)
        self.smooth_loss.update()
        if self._take_evals(batch.snapshot):
            changed.add("eval")
        return changed

    def get(self, name: str) -> Series:
        return self.series.get(name, _NOTHING)

    def recent_seconds_per_step(self, count: int = 50) -> float | None:
        """The median wall time of the last steps; None before the first."""
        seconds = self.get("seconds").y[-count:]
        seconds = seconds[np.isfinite(seconds)]
        return float(np.median(seconds)) if len(seconds) else None

    def _made(self, name: str) -> Series:
        return self.series.setdefault(name, Series())

    def _take_evals(self, snapshot: RunSnapshot) -> bool:
        evals = [e for e in snapshot.evals if EVAL_METRIC in e.metrics]
        steps = np.asarray([e.step for e in evals], float)
        values = np.asarray([e.metrics[EVAL_METRIC] for e in evals], float)
        if np.array_equal(steps, self.eval_steps) and np.array_equal(values, self.eval_values, equal_nan=True):
            return False
        self.eval_steps, self.eval_values = steps, values
        return True
