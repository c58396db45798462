"""methods adopt: an adapter folder as the method part of a spec."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.unit.cli.conftest import Cli


def test_that_an_adapter_is_printed_as_the_method_of_a_spec(cli: Cli, tmp_path: Path) -> None:
    below = "base_model.model.model.layers.0.self_attn.q_proj"
    save_file(
        {f"{below}.lora_A.weight": np.zeros((4, 8), "f4"), f"{below}.lora_B.weight": np.zeros((8, 4), "f4")},
        tmp_path / "adapter_model.safetensors",
    )
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 6}))
    placement = {
        "use": "lora",
        "where": 'path in ("*[0-9].self_attn.q_proj",) and layer <= 0',
        "params": {"rank": 4, "alpha": 6.0, "dropout": 0.0, "rslora": False},
    }
    method = {"placements": [placement], "start": f"path:{tmp_path}"}
    assert cli("methods", "adopt", tmp_path, "--json").json == {"method": method}
    assert f"start: path:{tmp_path}" in cli("methods", "adopt", tmp_path).out


def test_that_another_folder_is_refused_with_a_remedy(cli: Cli, tmp_path: Path) -> None:
    answer = cli("methods", "adopt", tmp_path)
    assert answer.code == 2
    assert "name an adapter folder" in answer.err
