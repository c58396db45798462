"""A fault that some rows of a dataset have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.core.problems import Problem, Severity
from studio.core.units import format_count

NAMED_ROWS = 3


@dataclass(frozen=True)
class Finding:
    """``rows`` (N,) are those with the fault, from 0, of ``total``; ``mends`` is what mending them does, or ""."""

    kind: str
    where: str
    message: str
    hint: str
    severity: Severity
    rows: NDArray[np.int64]
    total: int
    mends: str = ""

    def __str__(self) -> str:
        first = ", ".join(format_count(int(row) + 1) for row in self.rows[:NAMED_ROWS])
        more = ", …" if len(self.rows) > NAMED_ROWS else ""
        return (
            f"{self.message} in {format_count(len(self.rows))} of {format_count(self.total)} rows (row {first}{more})"
        )

    @property
    def problem(self) -> Problem:
        """The same for a list of problems."""
        return Problem(self.where, str(self), self.hint, self.severity)
