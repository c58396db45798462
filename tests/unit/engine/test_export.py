"""What peft loads from our adapter folder answers as our model does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.plan import PlannedPlacement
from studio.engine.clock import Clock
from studio.engine.export import export_adapter
from studio.engine.loop import train
from studio.engine.session import open_session
from studio.engine.telemetry import Telemetry
from studio.rundir.control import ControlReader
from tests.helpers import plans, tiny
from tests.helpers.metering import no_meter

OpenTelemetry = Callable[[Path], Telemetry]
IDS = torch.tensor([[5, 9, 11, 7, 30, 12]])


def train_plan(plan: Any, root: Path, open_telemetry: OpenTelemetry) -> Any:
    telemetry = open_telemetry(root)
    session = open_session(plan, root / "checkpoints", telemetry)
    train(session, telemetry, ControlReader(root / "c"), root / "checkpoints", Clock(session, telemetry, no_meter))
    session.model.eval()
    return session


def peft_logits(base: Any, folder: Path) -> torch.Tensor:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from peft import PeftModel

        model = PeftModel.from_pretrained(base, str(folder))
    with torch.inference_mode():
        return model.eval()(input_ids=IDS).logits


@pytest.mark.parametrize("placements", ["one", "two ranks", "stacked"])
def test_that_peft_agrees_on_a_decoder(tmp_path: Path, open_telemetry: OpenTelemetry, placements: str) -> None:
    from transformers import AutoModelForCausalLM

    model = tiny.make_llama(tmp_path / "model")
    data = tiny.make_questions(tmp_path / "q.jsonl")
    plan = plans.make_plan(model, data, tmp_path / "d", columns={"prompt": "{question}", "completion": "{answer}"})
    if placements != "one":
        first = plan.placements[0]
        role = "v_proj" if placements == "two ranks" else "q_proj"
        second = plans.make_plan(
            model, data, tmp_path / "d2", columns={"prompt": "{question}", "completion": "{answer}"},
            params={"rank": 2, "alpha": 3.0, "rslora": True}, where=f'path == "*.{role}"',
        ).placements[0]  # fmt: skip
        first = first.model_copy(update={"sites": tuple(s for s in first.sites if s.endswith("q_proj"))})
        both: tuple[PlannedPlacement, ...] = (first, second)
        per_rank = {site: 32 + (32 if site.endswith("q_proj") else 16) for p in both for site in p.sites}
        trainable = sum(per_rank[s] * p.params["rank"] for p in both for s in p.sites)
        plan = plan.model_copy(update={"placements": both, "trainable": trainable})
    session = train_plan(plan, tmp_path, open_telemetry)
    folder = export_adapter(session.attached, plan, tmp_path / "adapter")
    with torch.inference_mode():
        ours = session.model(input_ids=IDS, use_cache=False).logits
        untuned = AutoModelForCausalLM.from_pretrained(model)(input_ids=IDS).logits
    theirs = peft_logits(AutoModelForCausalLM.from_pretrained(model), folder)
    assert (ours - theirs).abs().max().item() < 1e-5
    assert (ours - untuned).abs().max().item() > 1e-3


def test_that_peft_agrees_on_a_classifier_with_its_head(tmp_path: Path, open_telemetry: OpenTelemetry) -> None:
    from transformers import AutoModelForSequenceClassification

    model = tiny.make_bert(tmp_path / "model")
    data = tiny.make_reviews(tmp_path / "r.csv")
    plan = plans.make_plan(
        model, data, tmp_path / "d", columns={"text": "text", "label": "label"}, task="classification", head=66
    )
    session = train_plan(plan, tmp_path, open_telemetry)
    folder = export_adapter(session.attached, plan, tmp_path / "adapter")
    with torch.inference_mode():
        ours = session.model(input_ids=IDS).logits
    theirs = peft_logits(AutoModelForSequenceClassification.from_pretrained(model, num_labels=2), folder)
    assert (ours - theirs).abs().max().item() < 1e-5


def test_that_a_second_export_replaces_the_first_whole(tmp_path: Path, open_telemetry: OpenTelemetry) -> None:
    model = tiny.make_llama(tmp_path / "model")
    data = tiny.make_questions(tmp_path / "q.jsonl")
    plan = plans.make_plan(model, data, tmp_path / "d", columns={"prompt": "{question}", "completion": "{answer}"})
    session = train_plan(plan, tmp_path, open_telemetry)
    for _ in range(2):
        folder = export_adapter(session.attached, plan, tmp_path / "adapter")
    names = {path.name for path in folder.iterdir()}
    assert names == {"pet_config.json", "pet_weights.safetensors", "adapter_config.json", "adapter_model.safetensors"}
    assert not list(tmp_path.glob(".adapter*"))
