"""What the ledger enters: every storage once, when it is made and when it is freed."""

import torch
from torch import Tensor

from studio.simulate.ledger import Ledger


def meta(*shape: int) -> Tensor:
    return torch.ones(shape, device="meta")


def test_that_a_storage_is_entered_with_its_bytes_when_it_is_made_and_freed_when_nothing_refers_to_it() -> None:
    with Ledger() as ledger:
        first = meta(10)
        second = meta(3)
        del first
        del second
    assert ledger.sizes == [40, 12]
    assert ledger.events == [1, 2, -1, -2]


def test_that_views_share_one_storage_which_lives_as_long_as_the_last_of_them() -> None:
    with Ledger() as ledger:
        base = meta(4, 6)
        view = base.view(24)[3:].view(3, 7).t()
        del base
        assert ledger.events == [1]
        del view
    assert (ledger.sizes, ledger.events) == ([96], [1, -1])


def test_that_operations_in_place_make_nothing() -> None:
    with Ledger() as ledger:
        tensor = meta(8)
        tensor.mul_(2).add_(1)
        tensor[2:].zero_()
    assert ledger.sizes == [32]


def test_that_a_temporary_is_freed_before_what_comes_after_it() -> None:
    with Ledger() as ledger:
        kept = (meta(4) + 1).exp()
    assert ledger.events == [1, 2, -1, 3, -2]
    assert kept.is_meta


def test_that_tensors_of_the_host_and_copies_from_it_are_not_counted() -> None:
    with Ledger() as ledger:
        host = torch.ones(100)
        moved = host.to("meta")
        host.add(1)
    assert ledger.sizes == []
    assert moved.is_meta


def test_that_a_known_storage_is_not_entered_again() -> None:
    ledger, tensor = Ledger(), meta(5)
    ledger.note(tensor)
    ledger.note(tensor.view(5, 1))
    assert ledger.sizes == [20]


def test_that_storages_hold_what_their_phase_says_and_logits_by_their_width() -> None:
    with Ledger(vocab=64) as ledger:
        ledger.phase("forward", "activations")
        hidden, logits, flat = meta(2, 8), meta(2, 64), meta(64)
        ledger.phase("backward", "workspace")
        gradient = meta(8)
        ledger.relabel([gradient], "gradients")
    assert ledger.kinds == ["activations", "logits", "activations", "gradients"]
    assert ledger.marks == [("forward", 0), ("backward", 3)]
    assert hidden.is_meta
    assert logits.is_meta
    assert flat.is_meta


def test_that_scratch_comes_and_goes_within_an_operation() -> None:
    with Ledger(scratch=lambda func, args, out: 7 if func is torch.ops.aten.mm.default else None) as ledger:
        product = meta(2, 3) @ meta(3, 4)
    assert ledger.sizes == [24, 48, 32, 7]
    assert ledger.events[:5] == [1, 2, 3, 4, -4]
    assert product.is_meta


def test_that_a_backward_pass_frees_what_the_forward_pass_kept() -> None:
    weight = torch.nn.Parameter(meta(16, 16))
    with Ledger() as ledger:
        loss = (meta(4, 16) @ weight).relu().sum()
        held = sum(ledger.sizes[event - 1] if event > 0 else -ledger.sizes[-event - 1] for event in ledger.events)
        loss.backward()  # type: ignore[no-untyped-call]
    live = sum(ledger.sizes[event - 1] if event > 0 else -ledger.sizes[-event - 1] for event in ledger.events)
    assert held == 4 * (4 * 16 + 4 * 16 + 1)  # the input, what relu gave, the loss
    assert live == 4 * (16 * 16 + 1)  # the gradient, the loss


def test_that_operations_are_counted_by_phase() -> None:
    with Ledger() as ledger:
        ledger.phase("forward", "activations")
        product = meta(3, 5) @ meta(5, 7)
        ledger.phase("backward", "workspace")
        product.t() @ product
    assert ledger.flops == {"forward": 2 * 3 * 5 * 7, "backward": 2 * 7 * 3 * 7}
