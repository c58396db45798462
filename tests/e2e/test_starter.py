"""The main job on the real starter pack: fetch, train, get better, and load elsewhere with the same answers."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.paths import import_root
from studio.core.plan import Plan
from studio.engine.session import open_session
from studio.engine.telemetry import Telemetry
from studio.rundir.layout import RunFolder, read_json
from studio.rundir.log import EventLog
from studio.service import runs


@pytest.fixture(scope="module")
def starter_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the quickstart ran once, from an empty folder, as on a new machine."""
    home = tmp_path_factory.mktemp("starter")
    environment = {**os.environ, "PET_STUDIO_HOME": str(home)}
    command = [sys.executable, "-m", "studio", "quickstart", "--steps", "16"]
    done = subprocess.run(
        command, cwd=import_root(), env=environment, capture_output=True, text=True, check=False, timeout=560
    )
    assert done.returncode == 0, done.stderr
    (home / "stdout.txt").write_text(done.stdout)
    return home


@pytest.fixture
def run(starter_home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("PET_STUDIO_HOME", str(starter_home))
    return runs.show_run(runs.find_run("last").id)


def test_that_the_quickstart_beats_the_untuned_model_and_names_its_adapter(
    run: dict[str, Any], starter_home: Path
) -> None:
    assert run["state"] == "completed"
    untuned, tuned = run["evals"][0]["metrics"], run["evals"][-1]["metrics"]
    assert tuned["loss"] < untuned["loss"] / 3
    assert tuned["accuracy"] > untuned["accuracy"]
    printed = (starter_home / "stdout.txt").read_text()
    assert "held-out, untuned -> step" in printed
    assert str(Path(run["folder"]) / "artifacts" / "adapter") in printed


def test_that_the_forecast_of_the_quickstart_was_in_its_bands(run: dict[str, Any]) -> None:
    memory = run["estimate"]["memory"]
    assert memory["low_bytes"] < run["measured"]["peak_bytes"] < memory["high_bytes"]


def test_that_peft_answers_as_our_model_does_on_the_real_base(run: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = RunFolder(Path(run["folder"]))
    plan = Plan.model_validate(read_json(folder.plan)).model_copy(update={"precision": "fp32"})
    log = EventLog(tmp_path / "events.jsonl")
    session = open_session(plan, folder.checkpoints, Telemetry(log, "cpu"))
    log.close()
    ids = torch.from_numpy(session.eval_rows[0].ids)[None]
    with torch.inference_mode():
        ours = session.model.eval()(input_ids=ids, use_cache=False).logits
    base = AutoModelForCausalLM.from_pretrained(plan.model_path, dtype=torch.float32)
    with torch.inference_mode():
        untuned = base(input_ids=ids).logits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from peft import PeftModel

        tuned = PeftModel.from_pretrained(base, str(folder.artifacts / "adapter")).eval()
    with torch.inference_mode():
        theirs = tuned(input_ids=ids).logits
    assert (ours - theirs).abs().max().item() < 1e-5
    assert (ours - untuned).abs().max().item() > 0.1


def test_that_counts_on_the_starter_model_are_exact_without_loading_it(run: dict[str, Any], starter_home: Path) -> None:
    command = [sys.executable, "-m", "studio", "methods", "count", "--model", "library:smollm2-135m-instruct"]
    environment = {**os.environ, "PET_STUDIO_HOME": str(starter_home)}
    done = subprocess.run(
        [*command, "--method", "lora", "--json"], cwd=import_root(), env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    counted = json.loads(done.stdout)
    assert counted["trainable"] == run["plan"]["trainable"] == 2_442_240
    assert counted["total"] == 134_515_008 + 2_442_240
