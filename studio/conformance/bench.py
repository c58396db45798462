"""One method on one specimen: attached, trained and compared the way the engine does it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from studio.api import Context, Params, Site, Step
from studio.conformance.specimens import Specimen
from studio.core.errors import PluginError
from studio.core.spec import Gate
from studio.engine.attach import Attached, Placed, attach
from studio.engine.optimizer import build_optimizer, set_rate
from studio.engine.plugins import after_step, extra_loss, run_setup
from studio.extensions.bridge import BridgedMethod
from studio.extensions.declaring import Declared, count_tensors, declare_at
from studio.extensions.loader import LoadedMethod
from studio.models.where import select

ROWS = (0, 1, 2, 3)
SEED = 11


class CheckFailedError(Exception):
    """The method does not hold what the check asks; the message says what was found."""


class NotApplicableError(Exception):
    """The check has nothing to look at for this method; the message says why."""


def require(holds: bool, found: str) -> None:
    """Fail the check unless ``holds``."""
    if not holds:
        raise CheckFailedError(found)


@dataclass(frozen=True)
class Bench:
    """A method with its parameters on one specimen."""

    method: LoadedMethod | BridgedMethod
    params: Params
    specimen: Specimen

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites of the default placement."""
        traits = self.method.traits
        return tuple(site for site in select(self.specimen.sites, traits.where) if traits.takes(site))

    @property
    def declared(self) -> Declared:
        return declare_at(self.method, self.params, self.sites)

    @property
    def count(self) -> int:
        return sum(count_tensors([self.declared]).values())

    def attach(
        self,
        *,
        sites: Sequence[Site] | None = None,
        times: int = 1,
        dtype: torch.dtype = torch.float32,
        gate: Gate = None,
        seed: int = SEED,
        setup: bool = True,
    ) -> Attached:
        """The method on a fresh model, ``times`` over, in training mode without the base's own dropout."""
        torch.manual_seed(seed)
        model = self.specimen.model(dtype)
        placed = [Placed(self.method, self.params, tuple(sites or self.sites), gate)] * times
        attached = attach(model, placed, sites=self.specimen.sites, train_head=False, seed=seed)
        if setup:
            run_setup(attached, _encode, lambda: (self.specimen.loss(model, [row]) for row in ROWS))
        return attached

    def logits(self, attached: Attached, rows: Sequence[int] = ROWS, **how: Any) -> Tensor:
        """What the tuned model says in evaluation mode."""
        attached.model.eval()
        with torch.no_grad():
            return self.specimen.logits(attached.model, rows, **how).clone()

    def train(self, attached: Attached, trainer: "Trainer | None" = None, *, steps: int = 3) -> list[float]:
        """Losses of ``steps`` optimizer steps on the same rows, at the rate of the traits (or the trainer's)."""
        trainer = trainer or Trainer(self, attached)
        return [trainer.step() for _ in range(steps)]

    def gradients(self, attached: Attached, rows: Sequence[int] = ROWS, **how: Any) -> dict[str, Tensor]:
        """Gradient of the summed loss for every trained tensor that has one."""
        attached.model.eval()
        for tensor in attached.tensors.values():
            tensor.grad = None
        torch.manual_seed(0)
        self.specimen.loss(attached.model, rows, **how).backward()  # type: ignore[no-untyped-call]
        return {name: t.grad.clone() for name, t in attached.tensors.items() if t.grad is not None}

    def with_params(self, params: Params) -> "Bench":
        return replace(self, params=params)


class Trainer:
    """The loop's own pieces over the specimen's rows; ``parts`` splits them into micro-batches."""

    def __init__(self, bench: Bench, attached: Attached, *, rate: float | None = None, total: int = 12) -> None:
        self._bench, self._attached, self._total, self._step = bench, attached, total, 0
        self._rate = bench.method.traits.learning_rate if rate is None else rate
        self.reached: set[str] = set()  # tensors that have had a gradient
        self.optimizer = build_optimizer(attached, learning_rate=self._rate, weight_decay=0.0)

    def step(self, parts: Sequence[Sequence[int]] = (ROWS,)) -> float:
        """One optimizer step; the loss per target before it."""
        attached, specimen = self._attached, self._bench.specimen
        self._step += 1
        attached.model.train()
        set_rate(self.optimizer, self._rate)
        count = sum(len(specimen.targets(rows)) for rows in parts)
        total = 0.0
        torch.manual_seed(self._step)
        for rows in parts:
            loss = specimen.loss(attached.model, rows) / count
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        now = Step(self._step, self._total, self._rate)
        if (added := extra_loss(attached, now)) is not None:
            added.backward()  # type: ignore[no-untyped-call]
        self.reached |= {name for name, t in attached.tensors.items() if t.grad is not None and bool(t.grad.any())}
        self.optimizer.step()
        after_step(attached, now)
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps besides tensors."""
        return {"optimizer": self.optimizer.state_dict(), "step": self._step}

    def restore(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self._step = state["step"]


def save(attached: Attached, path: Path, *, state: bool) -> None:
    """The tensors as the engine saves them."""
    save_file({n: t.detach().contiguous().clone() for n, t in attached.saved(state=state).items()}, path)


def load(attached: Attached, path: Path, *, state: bool) -> None:
    """Copy saved tensors into a fresh attachment; a name too many or too few is an error."""
    own, saved = attached.saved(state=state), load_file(path)
    require(own.keys() == saved.keys(), f"the file has other tensors: {sorted(own.keys() ^ saved.keys())[:3]}")
    with torch.no_grad():
        for name, value in saved.items():
            own[name].copy_(value)


@contextmanager
def over_bf16() -> Iterator[None]:
    """Say what usually helps where a method fails over a bf16 base."""
    try:
        yield
    except PluginError as error:
        wrong = f"{error.where}: {error.message}, over a bf16 base"
        raise CheckFailedError(f'{wrong}; cast its tensors where it uses them: tensors["A"].to(x.dtype)') from error


def changed_in_place(bench: Bench, attached: Attached) -> set[str]:
    """Which of ``x`` and ``y`` the method's forwards write into."""
    found: set[str] = set()
    before = {key: list(tuned.forwards) for key, tuned in attached.tuned.items()}
    for tuned in attached.tuned.values():
        tuned.forwards[:] = [replace(at, math=_Watched(at.math, found)) for at in tuned.forwards]
    bench.logits(attached)
    for key, tuned in attached.tuned.items():
        tuned.forwards[:] = before[key]
    return found


@dataclass(frozen=True)
class _Watched:
    """A method whose forward is looked at: torch counts the writes into a tensor."""

    math: Any
    changed: set[str]

    def forward(self, params: Params, site: Site, tensors: Any, x: Tensor, y: Tensor, ctx: Context) -> Tensor:
        before = x._version, y._version
        answer: Tensor = self.math.forward(params, site, tensors, x, y, ctx)
        now = x._version, y._version
        self.changed.update(name for name, old, new in zip("xy", before, now, strict=True) if new != old)
        return answer


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference of two outputs."""
    return float((a.detach().float() - b.detach().float()).abs().max())


def _encode(text: str) -> list[int]:
    return [4 + ord(letter) % 64 for letter in text]
