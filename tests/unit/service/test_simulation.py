"""Whatever becomes of the process that simulates, a question gets a profile or an error, and the next one its turn."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.core.facts import DeviceFacts
from studio.core.paths import home
from studio.core.plan import Plan
from studio.estimate.profile import MemoryProfile
from studio.service.plan_run import plan_run
from studio.service.simulation import MOST_KEPT, SimulationError, Simulator
from tests.helpers import tiny
from tests.helpers.estimates import cpu, gpu
from tests.helpers.stub_simulation import LENGTHS

STUB = "tests.helpers.stub_simulation"
PATIENCE_S = 2.0


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def spec(llama: Path, tmp_path: Path) -> dict[str, Any]:
    return tiny.questions_spec(llama, tiny.make_questions(tmp_path / "questions.jsonl"))


@pytest.fixture
def plan(spec: dict[str, Any]) -> Plan:
    found = plan_run(spec, devices=[cpu()]).plan
    assert found is not None
    return found


@pytest.fixture
def stub() -> Iterator[Simulator]:
    simulator = Simulator(PATIENCE_S, STUB)
    yield simulator
    simulator.close()


def ask(
    simulator: Simulator, plan: Plan, how: str = "answers", *, device: DeviceFacts | None = None, trained: int = 8
) -> MemoryProfile:
    return simulator.profile(plan, device or cpu(), length=LENGTHS[how], trained=trained, alone=False)


def test_that_the_process_starts_with_the_first_question_or_when_it_is_warmed(stub: Simulator, plan: Plan) -> None:
    assert psutil.Process().children() == []
    stub.warm()
    assert stub.is_warm
    (child,) = psutil.Process().children()
    assert ask(stub, plan).layers == child.pid


def test_that_a_question_is_answered_from_memory_the_second_time(stub: Simulator, plan: Plan) -> None:
    first = ask(stub, plan)
    (child,) = psutil.Process().children()
    child.suspend()
    started = time.monotonic()
    assert ask(stub, plan) is first
    assert time.monotonic() - started < 0.1
    child.resume()


def test_that_what_changes_nothing_about_a_step_is_not_asked_anew(stub: Simulator, plan: Plan) -> None:
    first = ask(stub, plan)
    same = {"micro_batch": 2, "accumulation": 4, "steps": 99, "learning_rate": 1.0, "seed": 5, "train_rows": 7}
    assert ask(stub, plan.model_copy(update=same)) is first
    ampere = ask(stub, plan, device=gpu())
    assert ask(stub, plan, device=gpu(compute_capability=(9, 0), name="another")) is ampere
    changes: list[dict[str, Any]] = [
        {"precision": "fp32" if plan.precision == "bf16" else "bf16"}, {"checkpointing": not plan.checkpointing},
        {"packing": not plan.packing}, {"model_fingerprint": "other"}, {"placements": ()},
    ]  # fmt: skip
    others = [ask(stub, plan.model_copy(update=change)) for change in changes]
    others += [ask(stub, plan, trained=9), ampere, ask(stub, plan, device=gpu(compute_capability=(7, 5)))]
    assert len({id(profile) for profile in [first, *others]}) == len(others) + 1


def test_that_only_so_many_answers_are_kept(stub: Simulator, plan: Plan) -> None:
    first = ask(stub, plan, trained=0)
    for trained in range(1, MOST_KEPT + 1):
        ask(stub, plan, trained=trained)
    assert ask(stub, plan, trained=0) is not first


def test_that_a_refusal_is_an_error_in_its_words_and_is_remembered(stub: Simulator, plan: Plan) -> None:
    for _ in range(2):
        with pytest.raises(SimulationError, match="this model has no step"):
            ask(stub, plan, "refuses")
    assert stub.is_warm


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("crashes", r"ends its process \(exit code 7\)"),
        ("hangs", "did not answer within 2 s"),
        ("garbles", "no answer"),
        ("misses", "no answer"),
        ("floods", "prints more than 1 MiB"),
    ],
)
def test_that_a_process_gone_wrong_is_an_error_and_a_new_one_answers_next(
    stub: Simulator, plan: Plan, how: str, words: str
) -> None:
    before = ask(stub, plan, trained=1).layers
    started = time.monotonic()
    with pytest.raises(SimulationError, match=words):
        ask(stub, plan, how)
    assert time.monotonic() - started < PATIENCE_S + 3
    after = ask(stub, plan, trained=2).layers
    assert after != before
    assert [child.pid for child in psutil.Process().children()] == [after]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_that_a_process_killed_or_halted_from_outside_is_replaced(
    stub: Simulator, plan: Plan, number: signal.Signals
) -> None:
    before = ask(stub, plan, trained=1).layers
    os.kill(before, number)
    with pytest.raises(SimulationError, match="killed by signal 9" if number == signal.SIGKILL else "did not answer"):
        ask(stub, plan, trained=2)
    assert ask(stub, plan, trained=3).layers != before


def test_that_what_hung_is_not_asked_again_but_what_was_killed_is(stub: Simulator, plan: Plan) -> None:
    with pytest.raises(SimulationError, match="did not answer"):
        ask(stub, plan, "hangs")
    started = time.monotonic()
    with pytest.raises(SimulationError, match="did not answer"):
        ask(stub, plan, "hangs")
    assert time.monotonic() - started < 0.1
    os.kill(ask(stub, plan, trained=1).layers, signal.SIGKILL)
    with pytest.raises(SimulationError, match="killed"):
        ask(stub, plan, trained=2)
    assert ask(stub, plan, trained=2).length == LENGTHS["answers"]


def test_that_questions_from_many_threads_are_each_answered(stub: Simulator, plan: Plan) -> None:
    found: dict[int, MemoryProfile] = {}
    threads = [
        threading.Thread(target=lambda trained=trained: found.update({trained: ask(stub, plan, trained=trained % 4)}))
        for trained in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len({profile.layers for profile in found.values()}) == 1
    assert len({id(profile) for profile in found.values()}) == 4


def test_that_closing_ends_a_question_under_way_and_starts_nothing_new(plan: Plan) -> None:
    simulator = Simulator(30.0, STUB)
    wrong: list[str] = []

    def hang() -> None:
        with pytest.raises(SimulationError) as caught:
            ask(simulator, plan, "hangs")
        wrong.append(caught.value.message)

    asking = threading.Thread(target=hang)
    asking.start()
    while not psutil.Process().children():
        time.sleep(0.01)
    time.sleep(0.2)
    started = time.monotonic()
    simulator.close()
    asking.join()
    assert time.monotonic() - started < 5
    assert wrong == ["the simulation is killed by signal 9"]
    with pytest.raises(SimulationError, match="ended"):
        ask(simulator, plan)
    assert psutil.Process().children() == []


def test_that_a_plan_falls_back_to_the_formula_and_says_why(spec: dict[str, Any]) -> None:
    simulator = Simulator(PATIENCE_S, "tests.helpers.nowhere")
    outcome, by_formula = plan_run(spec, devices=[cpu()], simulator=simulator), plan_run(spec, devices=[cpu()])
    assert outcome.estimate is not None
    assert by_formula.estimate is not None
    assert (outcome.estimate.basis, outcome.estimate.fallback) == (
        "formula", "the simulation ends its process (exit code 1)",
    )  # fmt: skip
    assert outcome.estimate.memory == by_formula.estimate.memory


def test_that_the_real_process_simulates_a_plan_and_refuses_in_words(spec: dict[str, Any]) -> None:
    simulator = Simulator()
    try:
        outcome = plan_run(spec, devices=[cpu()], simulator=simulator)
        assert outcome.plan is not None
        assert outcome.estimate is not None
        assert (outcome.estimate.basis, outcome.estimate.fallback) == ("simulated", "")
        started = time.monotonic()
        again = plan_run(spec, devices=[cpu()], simulator=simulator)
        assert time.monotonic() - started < 2
        assert again.estimate is not None
        assert again.estimate.memory == outcome.estimate.memory
        strange = outcome.plan.placements[0].model_copy(update={"use": "nowhere"})
        with pytest.raises(SimulationError, match="no method 'nowhere'"):
            ask(simulator, outcome.plan.model_copy(update={"placements": (strange,)}))
        with pytest.raises(SimulationError, match="no such file or folder"):
            ask(simulator, outcome.plan.model_copy(update={"model_path": "/nowhere"}))
        assert ask(simulator, outcome.plan).operations.deep[1] > 0
    finally:
        simulator.close()
    assert "profiler" not in (home().logs / "simulation.log").read_text(encoding="utf-8")
