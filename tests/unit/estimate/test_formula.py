"""The formula against a simulation of the engine's own step, on tiny models of the kinds that are hard to foresee."""

import pytest

from studio.simulate.emulator import Flavour
from studio.simulate.trace import trace
from tests.bench.estimate_accuracy import formula_bytes
from tests.helpers.simulated import Case, planned

CASES = [
    Case("llama", "full", "bf16"),
    Case("bert", "full", "fp32", checkpointing=True),
    Case("bert", "prompt-tuning", "fp32"),
    Case("llama", "sparse-mask", "bf16", params={"count": 5000}),
    Case("bert", "hira", "fp32"),
    Case("llama", "loha", "bf16"),
    Case("llama", "dora", "bf16"),
    Case("bert", "lst", "fp32"),
    Case("opt", "lora", "fp32"),
    Case("gemma2", "lora", "fp32"),
    Case("mixtral", "lora", "fp32"),
    Case("bloom", "lora", "bf16"),
    Case("falcon", "lora", "bf16"),
    Case("deberta-v2", "lora", "bf16"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_that_the_formula_is_within_a_tenth_of_the_simulated_peak(case: Case) -> None:
    with planned(case) as plan:
        simulated = trace(plan, case.shape, Flavour(), held_out=case.rows).peak
        assert formula_bytes(plan, case) == pytest.approx(simulated, rel=0.1)
