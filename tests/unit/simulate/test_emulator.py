"""Attention and dropout keep on meta what the kernels of the device would keep."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from studio.simulate.emulator import Emulator, Flavour
from studio.simulate.ledger import Ledger

AMPERE, TURING = Flavour("cuda", (8, 0)), Flavour("cuda", (7, 5))
HALF, FULL = torch.bfloat16, torch.float32


def heads(*, count: int = 4, length: int = 48, width: int = 16, dtype: torch.dtype = FULL, device: str = "meta") -> Any:
    return torch.ones(2, count, length, width, dtype=dtype, device=device).requires_grad_()


def kept_nodes(call: Callable[[], Tensor], flavour: Flavour) -> str:
    """The name of the autograd node that attention leaves."""
    with Ledger(), Emulator(flavour):
        node = call().grad_fn
    assert node is not None
    return node.name()


MASKS: dict[str, Callable[[str], Tensor | None]] = {
    "no mask": lambda device: None,
    "booleans": lambda device: torch.ones(2, 1, 48, 48, dtype=torch.bool, device=device),
    "added": lambda device: torch.zeros(2, 1, 48, 48, device=device),
    "added by head": lambda device: torch.zeros(2, 4, 48, 48, device=device),
    "trained": lambda device: torch.zeros(2, 4, 48, 48, device=device).requires_grad_(),
    "two dimensions": lambda device: torch.zeros(48, 48, device=device),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("groups", [4, 2])
@pytest.mark.parametrize("value_width", [16, 24])
def test_that_a_cpu_gets_the_kernel_that_torch_itself_chooses(
    mask: str, dropout: float, groups: int, value_width: int
) -> None:
    def attend(device: str) -> Tensor:
        return functional.scaled_dot_product_attention(
            heads(device=device), heads(count=groups, device=device),
            heads(count=groups, width=value_width, device=device), MASKS[mask](device), dropout, enable_gqa=groups < 4,
        )  # fmt: skip

    real = attend("cpu").grad_fn
    assert real is not None
    assert kept_nodes(lambda: attend("meta"), Flavour()) == real.name()


@pytest.mark.parametrize("name", MASKS)
def test_that_attention_on_a_cpu_allocates_on_meta_what_it_allocates_in_earnest(name: str) -> None:
    def peak(device: str) -> int:
        with Ledger(device=device) as ledger, Emulator(Flavour()):
            query, key, value = (heads(device=device) for _ in range(3))
            out = functional.scaled_dot_product_attention(query, key, value, MASKS[name](device))
            out.sum().backward()  # type: ignore[no-untyped-call]
        now = highest = 0
        for event in ledger.events:
            now += ledger.sizes[event - 1] if event > 0 else -ledger.sizes[-event - 1]
            highest = max(highest, now)
        return highest

    assert peak("meta") == pytest.approx(peak("cpu"), rel=0.001)


@pytest.mark.parametrize(
    ("flavour", "dtype", "mask", "groups", "width", "kernel"),
    [
        (AMPERE, HALF, "no mask", 4, 16, "ScaledDotProductFlashAttention"),
        (AMPERE, torch.float16, "no mask", 4, 16, "ScaledDotProductFlashAttention"),
        (AMPERE, HALF, "no mask", 2, 16, "ScaledDotProductFlashAttention"),
        (AMPERE, HALF, "no mask", 4, 256, "ScaledDotProductFlashAttention"),
        (AMPERE, HALF, "no mask", 4, 264, "ScaledDotProductEfficientAttention"),
        (AMPERE, FULL, "no mask", 4, 16, "ScaledDotProductEfficientAttention"),
        (TURING, HALF, "no mask", 4, 16, "ScaledDotProductEfficientAttention"),
        (AMPERE, HALF, "booleans", 4, 16, "ScaledDotProductEfficientAttention"),
        (TURING, FULL, "booleans", 4, 16, "ScaledDotProductEfficientAttention"),
        (AMPERE, HALF, "booleans", 2, 16, ""),
        (TURING, FULL, "no mask", 2, 16, ""),
    ],
)
def test_that_cuda_attends_by_mask_precision_capability_and_heads(
    flavour: Flavour, dtype: torch.dtype, mask: str, groups: int, width: int, kernel: str
) -> None:
    def attend() -> Tensor:
        query = heads(dtype=dtype, width=width)
        key, value = (heads(count=groups, dtype=dtype, width=width) for _ in range(2))
        return functional.scaled_dot_product_attention(query, key, value, MASKS[mask]("meta"), enable_gqa=groups < 4)

    name = kept_nodes(attend, flavour)
    assert kernel in name if kernel else "ScaledDotProduct" not in name


def test_that_a_mask_on_cuda_is_laid_out_at_multiples_of_16_elements() -> None:
    def largest(length: int) -> int:
        with Ledger() as ledger, Emulator(AMPERE):
            query = heads(length=length, dtype=HALF)
            mask = torch.ones(2, 1, length, length, dtype=torch.bool, device="meta")
            functional.scaled_dot_product_attention(query, query, query, mask)
        return int(max(ledger.sizes))

    assert largest(240) == 2 * 240 * 240 * 2
    assert largest(241) == 2 * 241 * 256 * 2


def test_that_dropout_on_cuda_keeps_one_byte_an_element() -> None:
    x = torch.ones(10, 100, device="meta", requires_grad=True)
    with Ledger() as ledger, Emulator(AMPERE):
        out = functional.dropout(x, 0.1)
    live = {abs(event) for event in ledger.events} - {-event for event in ledger.events if event < 0}
    assert sorted(ledger.sizes[number - 1] for number in live) == [1000, 4000]
    assert out.shape == x.shape


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.5, False)])
def test_that_idle_dropout_makes_nothing(p: float, training: bool) -> None:
    x = torch.ones(10, 100, device="meta", requires_grad=True)
    with Ledger() as ledger, Emulator(AMPERE):
        functional.dropout(x, p, training=training)
    assert ledger.sizes == []


def test_that_a_backward_pass_is_announced_and_recomputation_is_emulated_too() -> None:
    began: list[str] = []
    query = heads(dtype=HALF)
    with Ledger() as ledger, Emulator(AMPERE, on_backward=lambda: began.append("backward")):
        out = torch.utils.checkpoint.checkpoint(
            lambda x: functional.scaled_dot_product_attention(x, x, x), query, use_reentrant=False
        )
        before = len(ledger.sizes)
        out.sum().backward()
    assert began == ["backward"]
    sums = 2 * 4 * 48 * 4  # flash keeps one fp32 sum for each query: also where it is computed anew
    assert ledger.sizes[:before].count(sums) == ledger.sizes[before:].count(sums) == 1
    assert query.grad is not None


def test_that_what_is_not_on_meta_is_computed_as_ever() -> None:
    x = torch.randn(2, 4, 8, 16)
    with Ledger(), Emulator(AMPERE):
        emulated = functional.scaled_dot_product_attention(x, x, x)
        assert functional.dropout(x, 1.0).count_nonzero() == 0
    assert torch.equal(emulated, functional.scaled_dot_product_attention(x, x, x))
