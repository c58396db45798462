"""How many packed rows a CPU attends to at once, which the engine and the estimate both go by."""

MOST_WEIGHTS = 16 * 2**20  # bytes of one row's attention weights in fp32, beyond which they are not written out
MOST_ROWS = 4  # more would save little time
_MOST_TOGETHER = 4 * 2**20  # bytes of the attention weights in fp32 of rows attended to together
MOST_WASTE = 1.5  # times the weights that rows have alone, where the shorter are filled up


def rows_together(width: int, heads: int) -> int:
    """How many rows of at most ``width`` tokens are attended to together."""
    return min(MOST_ROWS, max(1, _MOST_TOGETHER // (4 * heads * width**2)))
