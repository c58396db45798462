"""A field is sized to a budget within its own bounds, by the sizes that the parameters accept."""

import pytest
from pydantic import field_validator

from studio.api import ParamDecl, Params, Site, fit_field, ui

SITES = [Site(f"layers.{n}.q", "linear", "q", n, 8, 6, (6, 8), has_bias=False) for n in range(2)]
EACH = 2 * (8 + 6)


class Even(Params):
    """A rank with a rule that bounds cannot say."""

    rank: int = ui(8, lo=2, hi=12)

    @field_validator("rank")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


class Free(Params):
    """A rank from 3, without an end."""

    rank: int = ui(8, lo=3)


def declare(params: Even | Free, site: Site) -> tuple[ParamDecl, ...]:
    return (ParamDecl("A", (params.rank, site.d_in)), ParamDecl("B", (site.d_out, params.rank)))


@pytest.mark.parametrize(("budget", "rank"), [(2, 2), (3, 2), (7, 6), (8, 8), (11, 10), (12, 12), (99, 12)])
def test_that_the_largest_accepted_size_within_the_budget_and_the_bounds_is_taken(budget: int, rank: int) -> None:
    assert fit_field(Even(), "rank", declare, SITES, budget * EACH).rank == rank


def test_that_bounds_of_the_call_stand_before_those_of_the_field() -> None:
    assert fit_field(Even(), "rank", declare, SITES, 99 * EACH, most=7).rank == 6
    assert fit_field(Even(), "rank", declare, SITES, 99 * EACH, smallest=3).rank == 12
    assert fit_field(Free(), "rank", declare, SITES, 5000 * EACH).rank == 4096


@pytest.mark.parametrize(("params", "least"), [(Even(), 2), (Free(), 3)])
def test_that_a_budget_below_the_smallest_size_is_refused_with_its_count(params: Even | Free, least: int) -> None:
    with pytest.raises(ValueError, match=rf"^the smallest size already has {least * EACH} parameters$"):
        fit_field(params, "rank", declare, SITES, EACH)


def test_that_it_says_where_no_size_is_accepted() -> None:
    with pytest.raises(ValueError, match="no rank from 3 to 3 is allowed"):
        fit_field(Even(), "rank", declare, SITES, 99 * EACH, smallest=3, most=3)
