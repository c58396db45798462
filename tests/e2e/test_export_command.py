"""A finished run's adapter leaves the studio whole, or not at all."""

from pathlib import Path

import pytest

from studio.core.errors import MachineError, UserError
from studio.service.export import PEFT_FILES, export_peft
from studio.service.start_run import create_run, start_run
from tests.e2e.conftest import wait_until_ended
from tests.helpers import tiny


def test_that_an_adapter_is_copied_to_a_new_folder_only(tiny_llama: Path, questions: Path, tmp_path: Path) -> None:
    run_id = start_run(tiny.questions_spec(tiny_llama, questions, max_steps=1))
    wait_until_ended(run_id)
    out = tmp_path / 'my "adapter" ✨'
    assert sorted(path.name for path in export_peft(run_id, out).iterdir()) == sorted(PEFT_FILES)
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
    with pytest.raises(UserError, match="not LoRA"):
        export_peft(run_id, tmp_path / "out")
    assert not (tmp_path / "out").exists()
