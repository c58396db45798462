"""Dropout's draws: as many as asked for, with the mean kept, and the same ones again from the same seed."""

import pytest
import torch
from torch import Tensor

from studio.engine.dropout import draw_kept, drop, mean_factor
from studio.engine.lean_modules import make_lean


def factors(
    share: float, shape: tuple[int, ...] = (999, 301), seed: int = 0, dtype: torch.dtype = torch.float32
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return draw_kept(shape, share, torch.device("cpu"), generator).to(dtype).mul_(mean_factor(share))


@pytest.mark.parametrize("share", [1e-4, 0.05, 0.1, 0.5, 0.9])
def test_that_a_share_is_dropped_and_the_mean_kept(share: float) -> None:
    found = factors(share)
    dropped = (found == 0).float()
    error = 5 * (share * (1 - share) / found.numel()) ** 0.5
    assert dropped.mean().item() == pytest.approx(share, abs=error + 2**-17)
    assert found.mean().item() == pytest.approx(1.0, abs=(error + 2**-17) / (1 - share))
    assert len(found.unique()) == 2


def test_that_neighbours_are_drawn_apart() -> None:
    dropped = (factors(0.5) == 0).float().flatten() - 0.5
    for apart in (1, 2, 3, 4, 8):
        assert abs((dropped[apart:] * dropped[:-apart]).mean().item()) < 5 * 0.25 / dropped.numel() ** 0.5


def test_that_a_seed_chooses_the_same_and_another_others() -> None:
    assert torch.equal(factors(0.3), factors(0.3))
    assert not torch.equal(factors(0.3), factors(0.3, seed=1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 4, 8)])
def test_that_any_shape_and_precision_will_do(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    found = factors(0.25, shape, dtype=dtype)
    assert (found.shape, found.dtype) == (shape, dtype)
    assert set(found.flatten().tolist()) <= {0.0, float(torch.tensor(4 / 3, dtype=dtype))}


def test_that_nothing_is_dropped_of_no_share_and_hardly_anything_kept_of_almost_all() -> None:
    assert torch.equal(factors(0.0), torch.ones(999, 301))
    assert torch.isfinite(factors(1 - 1e-9)).all()


def test_that_dropped_values_have_no_gradient_and_kept_ones_the_factor() -> None:
    x = torch.randn(40, 50, requires_grad=True)
    torch.manual_seed(3)
    found = drop(x, 0.3)
    torch.manual_seed(3)
    factor = draw_kept(x.shape, 0.3, x.device) * mean_factor(0.3)
    assert torch.allclose(found, x * factor)
    (made,) = torch.autograd.grad(found.sum(), x)
    assert torch.allclose(made, factor)


@pytest.mark.parametrize("on_cpu", [True, False])
def test_that_modules_drop_in_training_alone_and_keep_a_byte_an_entry_on_a_cpu(on_cpu: bool) -> None:
    module = torch.nn.Dropout(0.25)
    make_lean(module, on_cpu=on_cpu)
    kept: list[int] = []

    def see(tensor: Tensor) -> Tensor:
        kept.append(tensor.untyped_storage().nbytes())
        return tensor

    x = torch.ones(100, 200, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        found = module(x)
    assert (found == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert found.detach().unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert kept == [x.numel() * (1 if on_cpu else 4)]
    assert torch.equal(module.eval()(x), x)
