"""Arithmetic that is the same to the bit from one run to the next."""

import os


def make_repeatable() -> None:
    """Have Intel's MKL multiply in one way, before it first does in this process.

    On AMD processors it otherwise picks another one by where its operands lie in memory, so that two equal models give
    gradients that differ in the last bit, and a method would seem to remember what it does not.
    """
    os.environ.setdefault("MKL_CBWR", "COMPATIBLE")
