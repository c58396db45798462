"""Finished runs teach the estimator; those without figures, or of models that are gone, do not."""

import json

from studio.core.facts import ModelFacts
from studio.estimate import MeasuredRun
from studio.service import runs
from studio.service.run_history import measured_runs
from tests.helpers.runs import make_run, story

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
        ),
    )


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
