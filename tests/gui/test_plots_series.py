"""Curve buffers and smoothing."""

import math

import numpy as np
import pytest

from studio.gui.plots.series import Series, Smoothed


def test_that_a_series_keeps_every_point_across_growth() -> None:
    series = Series(capacity=4)
    for start in range(0, 100, 7):
        series.extend(np.arange(start, start + 7, dtype=float), np.arange(start, start + 7, dtype=float) * 2)
    assert len(series) == 105
    np.testing.assert_array_equal(series.y, series.x * 2)


def test_that_values_that_are_not_finite_are_kept_and_counted() -> None:
    series = Series()
    series.extend([1, 2, 3], [1.0, math.nan, math.inf])
    assert series.bad == 2
    series.cut_after(2)
    assert (len(series), series.bad) == (2, 1)


def test_that_a_longer_list_is_cut_to_the_shorter() -> None:
    series = Series()
    series.extend([1, 2, 3], [5.0, 6.0])
    assert series.x.tolist() == [1, 2]


def test_that_only_the_last_span_is_kept() -> None:
    series = Series()
    series.extend(np.arange(1000.0), np.arange(1000.0))
    series.keep_last(300)
    assert (series.x[0], series.x[-1]) == (699, 999)


def test_that_smoothing_point_by_point_equals_smoothing_at_once() -> None:
    values = np.random.default_rng(0).normal(size=500)
    grown, at_once = Series(), Series()
    following = Smoothed(grown, 0.9)
    for start in range(0, 500, 13):
        grown.extend(np.arange(start, min(start + 13, 500), dtype=float), values[start : start + 13])
        following.update()
    at_once.extend(np.arange(500.0), values)
    whole = Smoothed(at_once, 0.9)
    whole.update()
    np.testing.assert_allclose(following.y, whole.y)


def test_that_smoothing_starts_at_the_first_value_and_passes_over_nan() -> None:
    series = Series()
    series.extend([0, 1, 2], [4.0, math.nan, 4.0])
    smooth = Smoothed(series, 0.9)
    smooth.update()
    assert smooth.y.tolist() == pytest.approx([4.0, 4.0, 4.0])


def test_that_smoothing_follows_a_cut_series() -> None:
    series = Series()
    series.extend(np.arange(10.0), np.ones(10))
    smooth = Smoothed(series)
    smooth.update()
    series.cut_after(4)
    series.extend([5.0], [3.0])
    smooth.update()
    assert len(smooth.y) == 6
    assert smooth.y[-1] > 1


def test_that_no_weight_leaves_the_curve_as_it_is() -> None:
    series = Series()
    series.extend([0, 1, 2], [1.0, 5.0, 2.0])
    smooth = Smoothed(series)
    smooth.set_weight(0)
    assert smooth.y.tolist() == [1.0, 5.0, 2.0]
