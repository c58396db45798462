"""Welch's test against published values, and what it finds in simulated groups."""

import random

import pytest

from studio.service.welch import t_quantile, t_two_sided, welch_test

# "A" and "B" of the usual example of unequal variances; the figures below are those of SciPy 1.17.1
FIRST = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
SECOND = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4]


@pytest.mark.parametrize(
    ("first", "second", "p_value", "low", "high"),
    [
        (FIRST, SECOND, 0.021378001462866992, 0.3492370661924069, 3.984096267140929),
        ([0.01, 0.02, 0.05], [10.0, 12.5, 11.0, 9.5], 0.0005088881986810243, 8.618781158927828, 12.827885507738838),
        (
            [251.2, 249.8, 250.3], [242.0, 245.5, 239.1, 244.7, 243.3],
            0.001572497717599281, -10.604802316807872, -4.421864349858771,
        ),
    ],
)  # fmt: skip
def test_that_p_value_and_interval_are_the_published_ones(
    first: list[float], second: list[float], p_value: float, low: float, high: float
) -> None:
    test = welch_test(first, second)
    assert test.p_value == pytest.approx(p_value, rel=1e-10)
    assert (test.low, test.high) == pytest.approx((low, high), rel=1e-10)
    assert test.difference == pytest.approx((low + high) / 2)


@pytest.mark.parametrize(
    ("t", "freedom", "p_value"),
    [
        (2.0, 10, 0.07338803477074037),
        (0.5, 3.7, 0.6453356333199318),
        (12.706, 1, 0.05000080235813319),
        (-3.3, 17.25, 0.004164442018390452),
        (0.0, 5, 1.0),
        (40.0, 8, 1.6785718879145792e-10),
        (0.001, 2.5, 0.9992763827207849),
    ],
)
def test_that_the_t_distribution_has_its_tabled_tails(t: float, freedom: float, p_value: float) -> None:
    assert t_two_sided(t, freedom) == pytest.approx(p_value, rel=1e-10)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706204736174694), (2, 4.302652729749462), (4, 2.7764451051977934), (10, 2.228138851986274),
     (30, 2.0422724563012378), (17.25, 2.1074887374283344), (2.7, 3.3921483831737507)],
)  # fmt: skip
def test_that_the_t_distribution_has_its_tabled_quantiles(freedom: float, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, rel=1e-10)


def test_that_groups_without_spread_differ_surely_or_not_at_all() -> None:
    assert welch_test([1.0, 1.0], [2.0, 2.0]).p_value == 0
    assert welch_test([1.0, 1.0], [1.0, 1.0]).p_value == 1
    with pytest.raises(ValueError, match="two data points"):
        welch_test([1.0], [2.0, 3.0])


def found(shift_w: float, size: int, *, repeats: int = 1000) -> float:
    """The share of simulated pairs of groups (sigma 5 W) in which p is below 0.05."""
    dice = random.Random(11)
    tests = (
        welch_test([dice.gauss(250, 5) for _ in range(size)], [dice.gauss(250 + shift_w, 5) for _ in range(size)])
        for _ in range(repeats)
    )
    return sum(test.p_value < 0.05 for test in tests) / repeats


@pytest.mark.parametrize("size", [3, 5, 10])
def test_that_equal_groups_seem_to_differ_in_one_of_twenty(size: int) -> None:
    assert found(0, size) == pytest.approx(0.05, abs=0.02)


def test_that_ten_runs_each_find_a_shift_of_ten_watts() -> None:
    assert found(10, 10) > 0.95


def test_that_the_interval_holds_the_truth_in_nineteen_of_twenty() -> None:
    dice = random.Random(5)
    held = 0
    for _ in range(1000):
        test = welch_test([dice.gauss(250, 5) for _ in range(5)], [dice.gauss(240, 12) for _ in range(8)])
        held += test.low <= -10 <= test.high
    assert held / 1000 == pytest.approx(0.95, abs=0.02)
