"""What a run will need, before it runs: memory, time and energy from closed forms; no torch."""

from studio.estimate.inputs import EstimateInputs, MeasuredRun
from studio.estimate.run import estimate_run, judge
from studio.estimate.tables import Grid, grid_g_per_kwh, grid_source, list_grids

__all__ = [
    "EstimateInputs",
    "Grid",
    "MeasuredRun",
    "estimate_run",
    "grid_g_per_kwh",
    "grid_source",
    "judge",
    "list_grids",
]
