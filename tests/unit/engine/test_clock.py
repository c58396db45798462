"""What a run measures of itself: epochs, sessions, meters, on a tiny model with a meter of known power."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core import events as ev
from studio.core.facts import DeviceSample
from studio.core.plan import Plan
from studio.devices import Energy, EnergyMeter
from studio.engine import clock as clocks
from studio.engine.clock import Clock
from studio.engine.loop import train
from studio.engine.run import run
from studio.engine.session import open_session
from studio.engine.telemetry import Telemetry
from studio.rundir.control import ControlReader, send
from studio.rundir.layout import RunFolder, write_json
from studio.rundir.log import read_all_events
from tests.helpers import plans, tiny
from tests.helpers.metering import no_meter

WATTS = 100.0
OpenTelemetry = Callable[[Path], Telemetry]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def make_plan(llama: Path, tmp_path: Path) -> Callable[..., Plan]:
    """Plans over 24 training rows in batches of 8: three steps are an epoch."""

    def make(**overrides: Any) -> Plan:
        data = tiny.make_questions(tmp_path / "questions.jsonl")
        columns = {"prompt": "{question} ?", "completion": "{answer}"}
        settings = {"eval_rows": 36, "train_rows": 24, "effective_batch": 8, **overrides}
        return plans.make_plan(llama, data, tmp_path / "library", columns=columns, **settings)

    return make


class Meter:
    """A device that draws ``WATTS`` from the moment it is made."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self) -> Energy:
        seconds = time.monotonic() - self.began
        return Energy(WATTS * seconds, "energy counter", seconds, 0.0, False)


def train_on(plan: Plan, folder: Path, telemetry: Telemetry, *requests: str, slow_start_s: float = 0.0) -> Clock:
    session = open_session(plan, folder / "checkpoints", telemetry)
    control, meter = ControlReader(folder / "control.jsonl"), Meter()
    for request in requests:
        send(folder / "control.jsonl", request)  # type: ignore[arg-type]
    meter.began -= slow_start_s
    clock = Clock(session, telemetry, meter, started=meter.began)
    train(session, telemetry, control, folder / "checkpoints", clock)
    return clock


def epochs_in(folder: Path) -> list[ev.EpochEnded]:
    return [event for event in read_all_events(folder / "events.jsonl") if isinstance(event, ev.EpochEnded)]


def tokens_in(folder: Path) -> list[float]:
    events = read_all_events(folder / "events.jsonl")
    return [tokens for event in events if isinstance(event, ev.Metrics) for tokens in event.values["tokens"]]


def test_that_each_epoch_is_reported_with_what_it_took_alone(
    make_plan: Callable[..., Plan], tmp_path: Path, open_telemetry: OpenTelemetry
) -> None:
    telemetry = open_telemetry(tmp_path)
    clock = train_on(make_plan(steps=8), tmp_path, telemetry)
    clock.update()
    clock.cut_epoch()
    telemetry.flush()
    epochs, tokens = epochs_in(tmp_path), tokens_in(tmp_path)
    assert [(epoch.epoch, epoch.step) for epoch in epochs] == [(1, 3), (2, 6), (3, 8)]
    assert [epoch.tokens for epoch in epochs] == [sum(tokens[:3]), sum(tokens[3:6]), sum(tokens[6:])]
    for epoch in epochs:
        assert epoch.watt_hours == pytest.approx(WATTS * epoch.seconds / 3600, rel=0.02)


def test_that_the_epochs_add_up_to_the_whole_run_but_its_preparation(
    make_plan: Callable[..., Plan], tmp_path: Path, open_telemetry: OpenTelemetry
) -> None:
    telemetry = open_telemetry(tmp_path)
    clock = train_on(make_plan(steps=8), tmp_path, telemetry, slow_start_s=500)
    clock.cut_epoch()
    telemetry.flush()
    progress, epochs = clock._session.progress, epochs_in(tmp_path)
    assert progress.seconds > 500
    assert sum(epoch.seconds for epoch in epochs) == pytest.approx(progress.seconds - 500, abs=0.01)
    joules = sum((epoch.watt_hours or 0.0) * 3600 for epoch in epochs)
    assert joules == pytest.approx((progress.joules or 0.0) - WATTS * 500, abs=1)


def test_that_an_epoch_over_two_sessions_counts_both_but_not_the_loading_between(
    make_plan: Callable[..., Plan], tmp_path: Path, open_telemetry: OpenTelemetry
) -> None:
    plan = make_plan(steps=6)
    first = train_on(plan, tmp_path, open_telemetry(tmp_path), "pause")._session.progress
    assert (first.step, epochs_in(tmp_path)) == (1, [])
    second = train_on(plan, tmp_path, open_telemetry(tmp_path), slow_start_s=1000)
    second.update()
    epochs, whole = epochs_in(tmp_path), second._session.progress
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert epochs[0].tokens == sum(tokens_in(tmp_path)[:3])
    assert first.seconds < epochs[0].seconds < 500
    assert epochs[0].watt_hours == pytest.approx(WATTS * epochs[0].seconds / 3600, rel=0.02)
    assert whole.seconds > 1000
    assert whole.joules == pytest.approx(WATTS * whole.seconds, rel=0.02)


def test_that_a_batch_of_several_epochs_is_shared_among_them(
    make_plan: Callable[..., Plan], tmp_path: Path, open_telemetry: OpenTelemetry
) -> None:
    plan = make_plan(steps=1, effective_batch=52, eval_rows=36)
    clock = train_on(plan, tmp_path, open_telemetry(tmp_path))
    clock.cut_epoch()
    epochs = epochs_in(tmp_path)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert epochs[0].seconds == epochs[1].seconds
    assert epochs[0].tokens == sum(tokens_in(tmp_path)) // 2


def sessions(*energies: Energy, device: str = "cpu") -> Any:
    """The progress after sessions of ten seconds each that metered this."""

    class Stub:
        def __init__(self) -> None:
            from studio.engine.session import Progress

            self.progress = Progress()
            self.plan = type("Plan", (), {"device": device})

    class Peak:
        def peak(self) -> int:
            return 7

    stub: Any = Stub()
    for energy in energies:
        peak: Any = Peak()
        Clock(stub, peak, lambda energy=energy: energy, started=time.monotonic() - 10)  # type: ignore[misc]
    return stub.progress


COUNTER = Energy(50.0, "energy counter", 10.0, 0.0, False)
POWER = Energy(70.0, "averaged power", 10.0, 4.0, None)
NONE = Energy(None, "none", 10.0, 10.0, None)


@pytest.mark.parametrize(
    ("energies", "joules", "method", "unmetered_s", "shared"),
    [
        ((COUNTER,), 50, "energy counter", 0, False),
        ((COUNTER, POWER), 120, "both", 4, None),
        ((COUNTER, NONE), 50, "energy counter", 10, None),
        ((NONE, POWER), 70, "averaged power", 14, None),
        ((NONE, NONE), None, "none", 20, None),
        ((no_meter(),), None, "none", 10, None),
        ((Energy(1.0, "both", 10.0, 0.0, True), COUNTER), 51, "both", 0, True),
    ],
)
def test_that_sessions_add_up_with_what_no_meter_saw(
    energies: tuple[Energy, ...], joules: float | None, method: str, unmetered_s: float, shared: bool | None
) -> None:
    progress = sessions(*energies)
    assert progress.joules == joules
    assert (progress.energy_method, progress.shared) == (method, shared)
    assert progress.unmetered_s == pytest.approx(unmetered_s, abs=0.1)
    assert progress.seconds == pytest.approx(10 * len(energies), abs=0.2)


def test_that_the_tensors_peak_is_the_largest_of_all_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([300, 200])
    monkeypatch.setattr(clocks, "allocated_peak", lambda _device: next(peaks))
    assert sessions(COUNTER, COUNTER, device="cuda:0").allocated_bytes == 300
    monkeypatch.undo()
    assert sessions(COUNTER).allocated_bytes is None


def test_that_a_run_reports_its_meter_and_the_time_it_took_to_load(
    make_plan: Callable[..., Plan], tmp_path: Path, open_telemetry: OpenTelemetry
) -> None:
    def read(device_id: str, _pid: int | None) -> DeviceSample:
        now = time.time()
        return DeviceSample(
            device=device_id, time=now, used_bytes=0, free_bytes=0, total_bytes=0, energy_j=WATTS * now
        )  # fmt: skip

    write_json(tmp_path / "plan.json", make_plan(steps=3).model_dump(mode="json"))
    began = time.monotonic()
    assert run(RunFolder(tmp_path), open_telemetry(tmp_path), EnergyMeter("cpu", read=read)) == "completed"
    took_s = time.monotonic() - began
    events = list(read_all_events(tmp_path / "events.jsonl"))
    (measured,) = (event for event in events if isinstance(event, ev.Measured))
    assert measured.watt_hours == pytest.approx(WATTS * measured.seconds / 3600, rel=0.05)
    assert (measured.energy_method, measured.shared, measured.allocated_bytes) == ("energy counter", None, None)
    assert measured.unmetered_s == pytest.approx(0, abs=0.05)
    (epoch,) = epochs_in(tmp_path)
    assert epoch.seconds < measured.seconds <= took_s
