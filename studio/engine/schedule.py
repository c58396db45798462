"""The learning rate as a pure function of the step, so that a resumed run needs no scheduler state."""

import math


def rate_factor(schedule: str, step: int, *, warmup: int, steps: int) -> float:
    """The factor on the learning rate at optimizer step ``step`` (from 0).

    Rises linearly over ``warmup`` steps, then stays (constant), falls linearly or along a half cosine to 0
    after the last step (Loshchilov and Hutter 2017, eq. 5 without restarts).
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    if schedule == "linear":
        return max(0.0, 1 - done)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return 1.0
