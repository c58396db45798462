"""A finished run's adapter leaves the studio whole, or not at all."""

from pathlib import Path

import pytest

from studio.core.errors import MachineError, UserError
from studio.service.export import PEFT_FILES, export_merged, export_peft
from studio.service.start_run import create_run, start_run
from tests.e2e.conftest import wait_until_ended
from tests.helpers import tiny


def test_that_an_adapter_is_copied_to_a_new_folder_only(tiny_llama: Path, questions: Path, tmp_path: Path) -> None:
    run_id = start_run(tiny.questions_spec(tiny_llama, questions, max_steps=1))
    wait_until_ended(run_id)
    out = tmp_path / 'my "adapter" ✨'
    assert sorted(path.name for path in export_peft(run_id, out).iterdir()) == sorted(PEFT_FILES)
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1
    with pytest.raises(UserError, match="already exists"):
        export_peft(run_id, out)
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot be written"):
        export_peft(run_id, tmp_path / "file" / "below")
    assert {path.name for path in tmp_path.iterdir() if path.name.endswith(".part")} == set()


def test_that_a_run_without_adapter_and_a_method_without_format_say_so(
    tiny_llama: Path, questions: Path, tmp_path: Path
) -> None:
    spec = tiny.questions_spec(tiny_llama, questions, max_steps=1)
    with pytest.raises(UserError, match="no adapter yet"):
        export_peft(create_run(spec).id, tmp_path / "out")
    spec["method"]["placements"] = [{"use": "full"}]
    run_id = start_run(spec)
    wait_until_ended(run_id)
    with pytest.raises(UserError, match="no format for this run"):
        export_peft(run_id, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_that_a_merged_model_loads_anywhere_and_answers_as_the_tuned_one(
    tiny_llama: Path, questions: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run_id = start_run(tiny.questions_spec(tiny_llama, questions, max_steps=4))
    wait_until_ended(run_id)
    written = export_merged(run_id, tmp_path / "merged")
    assert written["difference"] < 1e-5
    assert written["bytes"] == sum(file.stat().st_size for file in (tmp_path / "merged").iterdir())
    assert written["precision"] == "fp32"
    assert (tmp_path / "merged" / "tokenizer.json").is_file()
    assert len({file.stat().st_mode for file in (tmp_path / "merged").glob("[cm]*")}) == 1  # config and weights alike
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    base = AutoModelForCausalLM.from_pretrained(tiny_llama)
    tuned = PeftModel.from_pretrained(base, export_peft(run_id, tmp_path / "peft"))
    ids = torch.arange(4, 20)[None]
    with torch.inference_mode():
        assert torch.allclose(merged(ids).logits, tuned(ids).logits, atol=1e-5)
    with pytest.raises(UserError, match="already exists"):
        export_merged(run_id, tmp_path / "merged")


def test_that_a_method_without_a_merge_is_refused_and_leaves_nothing(
    tiny_llama: Path, questions: Path, tmp_path: Path
) -> None:
    spec = tiny.questions_spec(tiny_llama, questions, max_steps=1)
    spec["method"]["placements"] = [{"use": "prompt-tuning"}]
    run_id = start_run(spec)
    wait_until_ended(run_id)
    with pytest.raises(UserError, match="prompt-tuning cannot be merged"):
        export_merged(run_id, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))
