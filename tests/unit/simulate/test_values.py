"""Small index tensors keep their values beside them; what nobody can know is not made up unless it must be."""

import pytest
import torch
from torch import Tensor

from studio.simulate.emulator import Emulator, Flavour
from studio.simulate.ledger import Ledger
from studio.simulate.values import MOST, value_of

UNKNOWN = torch.empty(2, dtype=torch.int64, device="meta")


def on_meta(*values: int) -> Tensor:
    return torch.tensor(values).to("meta")


def known(tensor: Tensor) -> object:
    value = value_of(tensor)
    return None if value is None else value.tolist()


def test_that_values_follow_whole_numbers_through_operations() -> None:
    with Ledger():
        ids = on_meta(3, 0, 2)
        mask = ids != 0
        assert known(mask) == [True, False, True]
        assert known(torch.where(mask, ids, ids + 10)) == [3, 10, 2]
        assert known(mask.cumsum(0)) == [1, 1, 2]
        assert known(ids.sort().indices) == [1, 2, 0]
        assert not mask.all().item()
        assert ids.sum().item() == 5


def test_that_values_change_in_place_and_for_every_view() -> None:
    with Ledger():
        ids = on_meta(1, 2, 3, 4)
        part = ids[1:3]
        part.fill_(9)
        ids.add_(1)
    assert known(ids) == [2, 10, 10, 5]
    assert known(part) == [10, 10]


@pytest.mark.parametrize("change", [lambda part: part.add_(torch.zeros_like(UNKNOWN)), lambda part: part.random_()])
def test_that_values_are_dropped_for_every_view_when_something_unknown_is_written(change: object) -> None:
    with Ledger():
        ids = on_meta(1, 2, 3, 4)
        part = ids[1:3]
        change(part)  # type: ignore[operator]
    assert known(part) is None
    assert known(ids) is None


def test_that_random_draws_and_comparisons_of_unknown_numbers_are_unknown() -> None:
    with Ledger():
        assert known(torch.randint_like(on_meta(1, 2), 5)) is None
        assert known(torch.rand(2, device="meta") > 0.5) is None
        assert known(on_meta(1, 2).masked_fill_(torch.rand(2, device="meta") > 0.5, 0)) is None


def test_that_following_values_leaves_the_random_state_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with Ledger():
        torch.randint_like(on_meta(1, 2), 5)
        on_meta(1, 2).random_()
    assert torch.equal(torch.rand(1), expected)


def test_that_large_tensors_are_not_followed() -> None:
    with Ledger():
        assert value_of(torch.ones(MOST, dtype=torch.int64).to("meta")) is not None
        assert value_of(torch.ones(MOST + 1, dtype=torch.int64).to("meta")) is None


def test_that_a_mask_picks_as_many_rows_as_it_marks() -> None:
    hidden = torch.ones(4, 6, device="meta")
    with Ledger():
        mask = on_meta(1, 0, 1, 1).bool()
        assert hidden[mask].shape == (3, 6)
        assert known(mask.nonzero()) == [[0], [2], [3]]
        assert hidden[torch.tensor([True, False, False, False])].shape == (1, 6)


def test_that_an_unknown_mask_marks_everything() -> None:
    with Ledger():
        mask = torch.rand(4, device="meta") > 0.5
        assert torch.ones(4, 6, device="meta")[mask].shape == (4, 6)
        assert mask.any().item() is True


def test_that_a_mask_of_two_dimensions_picks_elements() -> None:
    with Ledger():
        mask = torch.tensor([[True, False], [True, True]]).to("meta")
        assert torch.ones(2, 2, 5, device="meta")[mask].shape == (3, 5)


def test_that_invented_choices_of_experts_spread_evenly() -> None:
    with Ledger(), Emulator(Flavour()):
        chosen = torch.rand(6, 4, device="meta").topk(2).indices
        assert torch.bincount(torch.tensor(chosen.flatten().tolist())).tolist() == [3, 3, 3, 3]


def test_that_lists_are_read_from_values() -> None:
    with Ledger(), Emulator(Flavour()):
        assert on_meta(4, 5).tolist() == [4, 5]
        assert torch.rand(2, device="meta").tolist() == [0.0, 0.0]
