"""Following a run in the terminal: a live line on a screen, plain lines in a pipe, JSON lines for programs."""

import math
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from studio.cli.output import console, plain, say, warn
from studio.core.events import CheckpointSaved, Evaluated, Event, Metrics, Noticed, PhaseChanged, StateChanged, encode
from studio.core.state import RunSnapshot
from studio.core.units import format_bytes, format_number, format_seconds, format_watt_hours

if TYPE_CHECKING:
    from rich.progress import Progress

SUCCESSFUL = ("completed", "stopped", "paused")
PLAIN_LINE_S = 5.0  # at most one line of training metrics in that time, where nobody watches


class View(Protocol):
    """Shows one event after the other."""

    def show(self, event: Event, snapshot: RunSnapshot) -> None: ...


def follow(run_id: str, *, as_json: bool) -> int:
    """Show a run's events until it ends; the exit code. Ctrl-C stops following, never the run."""
    from studio.service import runs

    shown = runs.show_run(run_id)
    snapshot = RunSnapshot()
    try:
        view, around = _view(as_json, shown["steps"])
        with around:
            for event in runs.watch(run_id):
                snapshot.apply(event)
                view.show(event, snapshot)
    except KeyboardInterrupt:
        warn(
            f"\nno longer following; the run goes on\n  pet-studio runs watch {run_id}\n  pet-studio runs stop {run_id}"
        )
        return 0
    return _conclude(runs.show_run(run_id), quiet=as_json)


def headline(snapshot: RunSnapshot, steps: int | None) -> str:
    """Where a run is: step, loss, best eval, speed."""
    parts = [f"step {snapshot.step}/{steps}" if steps else f"step {snapshot.step}"]
    loss = snapshot.metrics.get("loss")
    if loss is not None:
        parts.append(f"loss {_number(loss.last)}")
    best = snapshot.best_eval()
    if best is not None:
        parts.append(f"best eval loss {_number(best.metrics['loss'])}")
    tokens, seconds = snapshot.metrics.get("tokens"), snapshot.metrics.get("seconds")
    if tokens is not None and seconds is not None and seconds.last > 0:
        parts.append(f"{tokens.last / seconds.last:,.0f} tokens/s")
    return "   ".join(parts)


class JsonView:
    """Every event as the line that the log has."""

    def show(self, event: Event, snapshot: RunSnapshot) -> None:
        print(encode(event), flush=True)


class PlainView:
    """Lines that make sense in a log file: states, each phase once, evals, checkpoints, now and then the loss."""

    def __init__(self, steps: int | None) -> None:
        self._steps = steps
        self._last_line = 0.0
        self._phases: set[str] = set()

    def show(self, event: Event, snapshot: RunSnapshot) -> None:
        match event:
            case Metrics():
                if time.monotonic() - self._last_line >= PLAIN_LINE_S or snapshot.step == self._steps:
                    self._last_line = time.monotonic()
                    say(headline(snapshot, self._steps))
            case PhaseChanged(phase=phase):
                if phase not in self._phases:
                    self._phases.add(phase)
                    say(phase)
            case _:
                if text := describe(event):
                    say(text)


class LiveView:
    """A progress line that stays, with the notable events above it."""

    def __init__(self, bar: "Progress", steps: int | None) -> None:
        self._bar = bar
        self._steps = steps
        self._task = bar.add_task("starting", total=steps)

    def show(self, event: Event, snapshot: RunSnapshot) -> None:
        if text := describe(event):
            self._bar.console.print(text)
        words = headline(snapshot, self._steps) if snapshot.step else plain(snapshot.phase or snapshot.state)
        self._bar.update(self._task, description=words, completed=snapshot.step)


def describe(event: Event) -> str:
    """An event in one line, empty for those that are not worth one."""
    match event:
        case StateChanged():
            return event.state + (f": {plain(event.reason)}" if event.reason else "")
        case Evaluated():
            return f"eval at step {event.step}: {_scores(event)}"
        case CheckpointSaved():
            return f"checkpoint at step {event.step} ({format_bytes(event.bytes_)}{', best so far' * event.best})"
        case Noticed():
            return f"{event.level}: {plain(event.message)}"
    return ""


def _view(as_json: bool, steps: int | None) -> tuple[View, AbstractContextManager[Any]]:
    if as_json:
        return JsonView(), nullcontext()
    if not sys.stdout.isatty():
        return PlainView(steps), nullcontext()
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeRemainingColumn())
    bar = Progress(*columns, console=console(sys.stdout))
    return LiveView(bar, steps), bar


def _conclude(run: dict[str, Any], *, quiet: bool) -> int:
    """Say how the run ended; the exit code."""
    error = run["error"]
    if error is not None and run["state"] not in SUCCESSFUL:
        place = f" ({error['where']})" if error["where"] else ""
        warn(f"{run['state']}: {error['message']}{place}\n  {error['hint']}")
        if run["state"] == "crashed" and error["stderr"]:
            warn(error["stderr"])
    elif not quiet:
        say(f"{run['state']}: {run['folder']}")
        if gain := before_and_after(run["evals"]):
            say(gain)
        for artifact in run["artifacts"]:
            say(f"{artifact['name']}: {Path(run['folder']) / artifact['path']}")
        measured = run["measured"]
        if measured["seconds"] is not None:
            energy = measured["watt_hours"]
            used = "" if energy is None else f", {format_watt_hours(energy)}"
            say(f"{format_seconds(measured['seconds'])}, peak {format_bytes(measured['peak_bytes'])}{used}")
    return 0 if run["state"] in SUCCESSFUL else 1


def before_and_after(evals: list[dict[str, Any]]) -> str:
    """The untuned model's held-out scores and those of the best eval; empty without both."""
    untuned = next((e["metrics"] for e in evals if e["step"] == 0), None)
    best = min((e for e in evals if e["step"]), key=lambda e: float(e["metrics"]["loss"]), default=None)
    if untuned is None or best is None:
        return ""
    scores = [
        f"{plain(name)} {_number(untuned[name])} -> {_number(value)}"
        for name, value in best["metrics"].items()
        if name in untuned
    ]
    return f"held-out, untuned -> step {best['step']}: {', '.join(scores)}"


def _scores(evaluated: Evaluated) -> str:
    return ", ".join(f"{plain(name)} {_number(value)}" for name, value in evaluated.metrics.items())


def _number(value: float) -> str:
    return format_number(value) if math.isfinite(value) else str(value)
