"""Finished runs teach the estimator; those without figures, or of models that are gone, do not."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from studio.catalog.migrations import migrate
from studio.core import events as ev
from studio.core.facts import ModelFacts
from studio.core.paths import home
from studio.estimate import MeasuredRun
from studio.rundir.layout import read_json, write_json
from studio.service import runs
from studio.service.run_history import measured_runs
from tests.helpers.runs import append, make_run, story

LLAMA = ModelFacts(
    name="m", path="/m", architecture="LlamaForCausalLM", model_type="llama", kind="decoder", params=1, weight_bytes=1,
    dtype="bfloat16", layers=1, hidden=1, intermediate=1, heads=1, kv_heads=1, head_dim=1, vocab=1, max_positions=1,
    tied_embeddings=True, gated_mlp=True, has_chat_template=False, fingerprint="f1",
)  # fmt: skip


def test_that_a_finished_run_is_a_measurement() -> None:
    make_run()
    runs.refresh()
    assert measured_runs([LLAMA]) == (
        MeasuredRun(
            device="AMD EPYC",
            model_type="llama",
            precision="bf16",
            predicted_bytes=8_000_000,
            predicted_seconds_per_step=0.4,
            measured_bytes=10_000_000,
            measured_seconds_per_step=0.5,
            measured_watts=1.5 * 3600 / 7.0,
            method="lora",
        ),
    )


def measured(**changes: Any) -> list[ev.Event]:
    """The story of a run that measured something else."""
    return [replace(event, **changes) if isinstance(event, ev.Measured) else event for event in story()]


def only_run() -> MeasuredRun:
    runs.refresh()
    (run,) = measured_runs([LLAMA])
    return run


def test_that_versions_and_basis_are_known_and_survive_a_rebuild() -> None:
    folder = make_run()
    runs.refresh()
    write_json(folder.worker, {**read_json(folder.worker), "torch": "2.13.0+cu130", "driver": "580.95"})
    write_json(folder.estimate, {"uncorrected": {"basis": "simulated", "peak_bytes": 8_000_000, "seconds_per_step": 1}})
    append(folder.path, [ev.Noticed(109.0, "info", "one more line")])
    runs.refresh()
    assert (only_run().torch, only_run().driver) == ("2.13.0+cu130", "580.95")
    runs.rebuild()
    run = only_run()
    assert (run.torch, run.driver, run.basis, run.attention) == ("2.13.0+cu130", "580.95", "simulated", "sdpa")


def test_that_a_damaged_worker_file_costs_the_versions_alone() -> None:
    make_run().worker.write_text("{torn")
    assert (only_run().torch, only_run().measured_bytes) == ("", 10_000_000)


def test_that_a_run_of_two_steps_teaches_memory_alone() -> None:
    shorter = [event for event in story() if not (isinstance(event, ev.Metrics) and event.step[0] == 3)]
    make_run(events=shorter)
    run = only_run()
    assert (run.measured_seconds_per_step, run.measured_watts) == (None, None)
    assert run.measured_bytes == 10_000_000


@pytest.mark.parametrize("changes", [{"shared": True}, {"unmetered_s": 4.0}, {"watt_hours": None}])
def test_that_energy_which_is_not_the_runs_own_teaches_no_watts(changes: dict[str, Any]) -> None:
    make_run(events=measured(**changes))
    assert only_run().measured_watts is None
    assert only_run().measured_seconds_per_step == 0.5


def test_that_a_run_that_went_on_with_fewer_rows_teaches_nothing() -> None:
    make_run(events=measured(halved=True))
    run = only_run()
    assert (run.measured_bytes, run.measured_seconds_per_step, run.measured_watts) == (None, None, None)


def test_that_watts_are_those_of_the_metered_time() -> None:
    make_run(events=measured(shared=False, unmetered_s=1.0, energy_method="energy counter"))
    assert only_run().measured_watts == pytest.approx(1.5 * 3600 / 6.0)


def test_that_a_catalog_from_before_learns_of_old_runs_at_the_next_refresh() -> None:
    folder = make_run(events=measured(shared=True))
    write_json(folder.worker, {**read_json(folder.worker), "torch": "2.12.0"})
    runs.refresh()
    with closing(sqlite3.connect(home().catalog)) as connection, connection:
        for column in ("basis", "driver", "torch", "unmetered_s", "shared", "halved"):
            connection.execute(f"ALTER TABLE run DROP COLUMN {column}")
        connection.execute("DELETE FROM migration WHERE name = 'm002_what_forecasts_learn_from'")
    migrate(home().catalog)
    assert (only_run().torch, only_run().measured_watts) == ("2.12.0", None)


def test_that_runs_that_measured_nothing_are_left_out() -> None:
    make_run("20261124-063100-failed-aaaa", story(end="failed"))
    make_run("20261124-063100-cut-bbbb", story()[:7])
    unpredicted = make_run("20261124-063100-old-cccc")
    unpredicted.estimate.write_text(json.dumps({"fits": True}))
    runs.refresh()
    assert measured_runs([LLAMA]) == ()
    assert measured_runs([]) == ()


def test_that_a_home_without_runs_has_no_history() -> None:
    assert measured_runs([LLAMA]) == ()
