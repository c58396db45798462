"""Welch's test: whether two groups of unequal variance differ in their mean, and by how much."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

ALPHA = 0.05
TINY = 1e-300
TERMS = 1000


@dataclass(frozen=True)
class WelchTest:
    """The second group's mean less the first's, its 95 % interval, and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float


def welch_test(first: Sequence[float], second: Sequence[float]) -> WelchTest:
    """Compare two groups of at least two values each (Welch 1947; degrees of freedom by Welch and Satterthwaite).

    Raises:
        ValueError: a group has fewer than two values.
    """
    difference = fmean(second) - fmean(first)
    parts = [variance(group) / len(group) for group in (first, second)]
    error = math.sqrt(sum(parts))
    if error == 0:
        return WelchTest(difference, difference, difference, float(difference == 0))
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(group) - 1) for part, group in zip(parts, (first, second), strict=True)
    )
    reach = t_quantile(freedom) * error
    return WelchTest(difference, difference - reach, difference + reach, t_two_sided(difference / error, freedom))


def t_two_sided(t: float, freedom: float) -> float:
    """The probability that Student's t lies at least as far from 0 as ``t`` (DLMF 8.17, A&S 26.7.1)."""
    square = t * t
    return _incomplete_beta(freedom / (freedom + square), square / (freedom + square), freedom / 2, 0.5)


def t_quantile(freedom: float) -> float:
    """The t that is exceeded on either side with probability ``ALPHA`` in all; 0.975 of all t lie below it.

    Newton's method: the tails' probability falls and is convex, so from a t that is too small it never overshoots.
    """
    t, step = 1.9, math.inf  # below the normal distribution's 1.96, which is below all others
    while step > 1e-11 * t:
        step = (t_two_sided(t, freedom) - ALPHA) / (2 * _t_density(t, freedom))
        t += step
    return t


def _t_density(t: float, freedom: float) -> float:
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    return math.exp(log_scale - (freedom + 1) / 2 * math.log1p(t * t / freedom))


def _incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """The regularised incomplete beta function of ``x``; ``rest`` is 1 - x without its rounding error."""
    if x > (a + 1) / (a + b + 2):  # the fraction converges faster from the other side (DLMF 8.17.4)
        return 1 - _incomplete_beta(rest, x, b, a)
    if x == 0:
        return 0.0
    log_front = a * math.log(x) + b * math.log(rest) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) / a / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + …)), the denominator in DLMF 8.17.22, by the modified Lentz method."""
    value, upper, lower = 1.0, 1.0, 0.0
    for n in range(1, TERMS):
        m, odd = divmod(n, 2)
        if odd:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        upper = 1 + d / upper or TINY
        lower = 1 / (1 + d * lower or TINY)
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-16:
            break
    return value
