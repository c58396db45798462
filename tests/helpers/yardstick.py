"""How fast this machine is: limits in seconds are meant for an ordinary one."""

import timeit

import pytest

ORDINARY_MS = 1.1


def require_prompt(prompt: bool, found: str) -> None:
    """Fail with what was found; on a machine slower than those that the limits are for, skip with it."""
    if prompt:
        return
    slow = min(timeit.repeat("sum(range(100_000))", number=1, repeat=200)) * 1000
    if slow > ORDINARY_MS:
        pytest.skip(f"{slow:.2f} ms for what takes an ordinary machine {ORDINARY_MS} ms; {found}")
    pytest.fail(found)
