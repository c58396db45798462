"""The moments at which the host calls a method: before the first step, at every step, at every loss."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor

from studio.api import Setup, Step
from studio.core.errors import PluginError, StudioError
from studio.engine.attach import Attached, Placed, tuned_at
from studio.engine.hooks import to_map
from studio.engine.initial import seeded

Gradients = Mapping[str, tuple[Tensor, Tensor]]
Losses = Callable[[], Iterable[Tensor]]


def run_setup(attached: Attached, encode: Callable[[str], list[int]], losses: Losses) -> None:
    """Let every method that has a ``setup`` set its starting values; ``losses`` are of training rows.

    Raises:
        PluginError: a plugin's setup fails.
    """
    for index, item, setup in _having(attached, "setup"):
        ctx = Setup(
            generator=seeded(attached.seed, f"{index}.setup"),
            gradients=partial(_gradients, attached, index, losses),
            token_embedding=partial(_embeddings, attached),
            encode=encode,
        )
        with torch.no_grad():
            _call(item, "setup", partial(setup, item.params, attached.places(index), ctx))


def extra_loss(attached: Attached, step: Step) -> Tensor | None:
    """The sum of what the methods add to the loss; None if nothing."""
    terms = [
        term
        for index, item, function in _having(attached, "extra_loss")
        if (term := _call(item, "extra_loss", partial(function, item.params, attached.places(index), step))) is not None
    ]
    return torch.stack([term.reshape(()) for term in terms]).sum() if terms else None


def after_step(attached: Attached, step: Step) -> None:
    """Let the methods act after an optimizer step, gradients still in place."""
    with torch.no_grad():
        for index, item, function in _having(attached, "on_step"):
            _call(item, "on_step", partial(function, item.params, attached.places(index), step))


def method_metrics(attached: Attached) -> dict[str, float]:
    """The figures that the methods tell of themselves, by method and name."""
    found: dict[str, float] = {}
    with torch.no_grad():
        for index, item, function in _having(attached, "metrics"):
            told: Any = _call(item, "metrics", partial(function, item.params, attached.places(index)))
            found |= {f"{item.method.id}/{name}": float(value) for name, value in told.items()}
    return found


def _having(attached: Attached, name: str) -> list[tuple[int, Placed, Callable[..., Tensor | None]]]:
    found = ((i, item, getattr(item.method.math(), name, None)) for i, item in enumerate(attached.placed))
    return [(i, item, function) for i, item, function in found if function is not None]


def _call(item: Placed, name: str, function: Callable[[], Tensor | None]) -> Tensor | None:
    try:
        return function()
    except (StudioError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise PluginError(item.method.id, f"{name} fails: {type(error).__name__}: {error}") from error


def _gradients(attached: Attached, index: int, losses: Losses) -> Gradients:
    """Sums of the gradient and of its square over the micro-batches, for every base weight of a placement."""
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    with ExitStack() as stack, torch.enable_grad():
        sites = [site for site, _ in attached.declared[index]]
        found = [(site, stack.enter_context(tuned_at(attached, site).with_gradient())) for site in sites]
        stored = [(site, base) for site, base in found if base is not None]
        for loss in losses():
            grads = torch.autograd.grad(loss, [base for _, base in stored], allow_unused=True)
            for (site, base), grad in zip(stored, grads, strict=True):
                now = torch.zeros_like(base, dtype=torch.float32) if grad is None else grad.float()
                now = to_map(site, now)
                total, square = sums.get(site.path, (0.0, 0.0))
                sums[site.path] = (total + now, square + now.square())
    return sums


def _embeddings(attached: Attached, ids: Sequence[int]) -> Tensor:
    table = attached.model.get_input_embeddings()  # type: ignore[operator]
    rows: Tensor = table(torch.tensor(list(ids), device=next(table.parameters()).device))
    return rows.detach().float()
