"""Batch shapes from what is known about the lengths of rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.facts import LengthFacts
from studio.estimate.batches import largest_batch, largest_eval_batch, length_at, tokens_per_step
from tests.helpers.estimates import inputs, lengths


def test_that_unmeasured_rows_are_as_long_as_allowed() -> None:
    run = inputs(lengths=None)
    assert (largest_batch(run).length, tokens_per_step(run)) == (512, 16 * 512)


def test_that_measured_quantiles_are_met() -> None:
    run = inputs()
    assert (length_at(run, 0.5), length_at(run, 0.95)) == (130, 320)
    assert length_at(run, 256 / 257) == pytest.approx(480)


def test_that_rows_beyond_the_sample_may_be_longer_but_not_than_allowed() -> None:
    longer = inputs(max_length=2000, train_rows=100_000, steps=10_000)
    assert 480 < largest_batch(longer).length < 2000
    assert largest_batch(inputs(max_length=490, train_rows=100_000, steps=10_000)).length == 490


def test_that_rows_of_one_length_need_no_padding() -> None:
    run = inputs(lengths=lengths(mean=200.0, p50=200, p95=200, longest=200))
    assert tokens_per_step(run) == pytest.approx(16 * 200)


def test_that_larger_micro_batches_pad_more() -> None:
    one, sixteen = (tokens_per_step(inputs(micro_batch=n)) for n in (1, 16))
    assert 16 * 130 < one < sixteen <= 16 * 480


def test_that_evaluation_takes_at_least_four_rows_if_there_are_four() -> None:
    assert largest_eval_batch(inputs(micro_batch=1, eval_rows=100)).rows == 4
    assert largest_eval_batch(inputs(micro_batch=1, eval_rows=2)).rows == 2
    assert largest_eval_batch(inputs(micro_batch=8, eval_rows=100)).rows == 8


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 2000), st.integers(1, 2000), st.floats(0, 0.9999))
def test_that_lengths_grow_with_the_share_of_rows(
    p50: int, to_95: int, to_longest: int, sampled: int, at: float
) -> None:
    p95, longest = p50 + to_95, p50 + to_95 + to_longest
    mean = (p50 + p95) / 2
    facts = LengthFacts(
        sampled=sampled, mean=mean, p50=p50, p95=p95, longest=longest, trained=1, truncated=0, max_length=4096
    )
    run = inputs(lengths=facts, max_length=4096)
    assert 1 <= length_at(run, at) <= length_at(run, at + (1 - at) / 2) <= 4096


def test_that_virtual_tokens_make_rows_wider_and_carry_no_loss() -> None:
    plain, longer = (largest_batch(inputs(extra_tokens=count)) for count in (0, 20))
    assert (longer.length, longer.trained) == (plain.length, plain.trained)
    assert longer.tokens == plain.tokens + 20 * plain.rows
    assert tokens_per_step(inputs(extra_tokens=20)) == tokens_per_step(inputs()) + 20 * 16
