"""Everything a run trains with, built from its plan: data, model, trainables, optimizer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from studio.api import Site
from studio.core.errors import BugError, UserError
from studio.core.plan import Plan
from studio.datasets.encode import Encoder
from studio.datasets.split import split_rows
from studio.datasets.store import StoredDataset
from studio.engine.attach import Attached, Placed, attach
from studio.engine.batches import Room, Row, collate, micro_batches, room_of
from studio.engine.build import load_base
from studio.engine.checkpoint import latest_checkpoint, load_checkpoint
from studio.engine.chunked_loss import plain_head
from studio.engine.evaluate import answer_choices, eval_rows_at_once
from studio.engine.memory import Watch, held_bytes
from studio.engine.optimizer import build_optimizer
from studio.engine.plugins import run_setup
from studio.engine.row_store import StoredRows, encode_rows, sizes_of
from studio.engine.start import take_start
from studio.engine.tasks import batch_loss
from studio.engine.telemetry import Telemetry
from studio.extensions.methods import load_here
from studio.extensions.registry import discover
from studio.models.sites import find_sites

CALIBRATION_ROWS = 64


@dataclass
class Progress:
    """Where a run stands; saved in every checkpoint. Seconds and joules are summed over its sessions.

    ``epoch_seconds``, ``epoch_joules`` and ``epoch_tokens`` say where the sums stood when the current epoch began.
    ``micro_batch`` and ``eval_batch`` are the rows at once, fewer than planned where memory ran out.
    """

    step: int = 0
    best_loss: float | None = None
    best_step: int | None = None
    evals_since_best: int = 0
    train_seconds: float = 0.0
    seconds: float = 0.0
    tokens: int = 0
    joules: float | None = None
    unmetered_s: float = 0.0
    energy_method: str = ""
    shared: bool | None = None
    peak_bytes: int = 0
    allocated_bytes: int | None = None
    epoch_seconds: float = 0.0
    epoch_joules: float = 0.0
    epoch_tokens: int = 0
    micro_batch: int | None = None
    eval_batch: int | None = None


@dataclass
class Session:
    """The live objects of one worker process."""

    plan: Plan
    encoder: Encoder
    train_rows: Sequence[Row]
    eval_rows: Sequence[Row]
    choices: list[int]
    model: nn.Module
    attached: Attached
    optimizer: torch.optim.Optimizer
    scaler: "torch.amp.GradScaler"
    progress: Progress = field(default_factory=Progress)
    resumed: bool = False
    watch: Watch = field(init=False)
    _rooms: dict[int, Room] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.watch = Watch(self.plan.device, self._facts)

    @property
    def micro_batch(self) -> int:
        """Rows at once in training."""
        return self.progress.micro_batch or self.plan.micro_batch

    @property
    def room(self) -> Room | None:
        """What packed rows may hold at once: as much as ``micro_batch`` of the longest; None for padded rows."""
        if not self.plan.packing:
            return None
        if self.micro_batch not in self._rooms:
            sizes = sizes_of(self.train_rows)
            room = room_of(*sizes, self.plan.effective_batch, self.micro_batch, self.plan.seed)
            if plain_head(self.model) is not None:  # then logits are made in parts, however many they are
                room = replace(room, trained=room.tokens)
            self._rooms[self.micro_batch] = room
        return self._rooms[self.micro_batch]

    @property
    def eval_batch(self) -> int:
        """Rows at once in evaluation."""
        return self.progress.eval_batch or eval_rows_at_once(self.plan)

    def _facts(self) -> dict[str, Any]:
        held = held_bytes(self.model, self.attached, self.optimizer)
        return {"held": held, "step": self.progress.step}


def open_session(plan: Plan, checkpoints: Path, telemetry: Telemetry) -> Session:
    """Build the session, continuing from the last checkpoint if there is one.

    Raises:
        UserError: model or data is gone or changed, or the checkpoint is damaged.
        MachineError: the model does not fit.
        PluginError: a method misbehaves.
    """
    watch = Watch(plan.device)
    with watch.during("reading the data"):
        encoder, train_rows, eval_rows = _load_rows(plan, telemetry)
    telemetry.phase("loading the model")
    with watch.during("loading the model"):
        model = load_base(plan, pad_id=encoder.pad_id)
    watch.facts = lambda: {"held": held_bytes(model)}
    telemetry.phase("placing the method")
    sites = find_sites(Path(plan.model_path))
    with watch.during("placing the method"):
        attached = attach(model, placements_of(plan, sites), sites=sites, train_head=plan.train_head, seed=plan.seed)
    if attached.trainable != plan.trainable:
        raise BugError(f"the plan counted {plan.trainable:,} trainable parameters, {attached.trainable:,} were made")
    session = Session(
        plan=plan,
        encoder=encoder,
        train_rows=train_rows,
        eval_rows=eval_rows,
        choices=answer_choices(train_rows.completions(), eos_id=encoder.eos_id) if plan.task == "sft" else [],
        model=model,
        attached=attached,
        optimizer=build_optimizer(attached, learning_rate=plan.learning_rate, weight_decay=plan.weight_decay),
        scaler=torch.amp.GradScaler("cuda", enabled=plan.precision == "fp16"),
    )
    checkpoint = latest_checkpoint(checkpoints)
    with session.watch.during("placing the method"):
        if checkpoint is None:
            run_setup(attached, encoder.encode_text, lambda: _calibration(session))
            if plan.start:
                take_start(attached, Path(plan.start))
        else:
            telemetry.phase("loading the checkpoint")
            _restore(session, checkpoint)
    return session


def _load_rows(plan: Plan, telemetry: Telemetry) -> tuple[Encoder, StoredRows, StoredRows]:
    dataset = StoredDataset(Path(plan.data_path))
    if dataset.facts.fingerprint != plan.data_fingerprint:
        raise UserError(
            "the dataset has changed since the run was planned", where=plan.data_source, hint="start a new run with it"
        )
    encoder = Encoder(
        Path(plan.model_path), task=plan.task, format=plan.format, mapping=plan.columns,
        labels=plan.labels, max_length=plan.max_length, date=plan.date,
    )  # fmt: skip
    train, held_out = split_rows(len(dataset), plan.eval_rows, plan.split_seed, plan.max_rows)
    train_rows, eval_rows = encode_rows(dataset, encoder, train, held_out, progress=telemetry.phase("reading the data"))
    useless = len(train) + len(held_out) - len(train_rows) - len(eval_rows)
    if useless:
        telemetry.notice(f"{useless} rows have no token to train on and are left out", "warning")
    return encoder, train_rows, eval_rows


def placements_of(plan: Plan, sites: Sequence[Site]) -> list[Placed]:
    """The plan's placements with their plugins loaded; UserError if a plugin no longer takes the plan's parameters."""
    registry = discover()
    by_path = {site.path: site for site in sites}
    placed = []
    for planned in plan.placements:
        method = load_here(registry.get(planned.use, "method"))
        params, problems = method.parse(planned.params, "params")
        if params is None:
            raise UserError(f"the plan's parameters no longer fit {planned.use}: {problems[0]}", where="plan.json")
        placed.append(Placed(method, params, tuple(by_path[path] for path in planned.sites), planned.gate))
    return placed


def _calibration(session: Session) -> Iterator[Tensor]:
    """Losses of the first training rows, one micro-batch after the other, ready for a backward pass."""
    plan = session.plan
    classes = plan.task == "classification"
    for rows in micro_batches(session.train_rows[:CALIBRATION_ROWS], plan.micro_batch):
        batch = collate(
            rows, pad_id=session.encoder.pad_id, device=plan.device, packed=plan.packing, classes=classes
        )  # fmt: skip
        yield batch_loss(session.model, batch) / batch.weight


def _restore(session: Session, checkpoint: Path) -> None:
    tensors, optimizer, state = load_checkpoint(checkpoint)
    put_tensors(session.attached, tensors, checkpoint)
    session.optimizer.load_state_dict(optimizer["optimizer"])
    session.scaler.load_state_dict(optimizer["scaler"])
    session.progress = Progress(**state["progress"])
    session.resumed = True


def put_tensors(attached: Attached, tensors: dict[str, torch.Tensor], origin: Path, *, state: bool = True) -> None:
    """Copy saved values into the declared tensors; names must match exactly. ``state``: with what training needs."""
    own = attached.saved(state=state)
    if tensors.keys() != own.keys():
        missing = sorted(own.keys() ^ tensors.keys())[:3]
        raise UserError(f"the checkpoint holds other tensors ({', '.join(missing)}, …)", where=str(origin))
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)
