"""models, data, methods, plugin, devices, doctor: small real files, no torch."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import HIDDEN, LAYERS, Cli


def test_that_a_model_is_added_listed_inspected_and_removed(cli: Cli, model: Path) -> None:
    assert "models add" in cli("models", "list").err
    added = cli("models", "add", model, "--name", "tiny", "--license", "MIT", "--json").json
    assert (added["name"], added["architecture"], added["layers"]) == ("tiny", "LlamaForCausalLM", LAYERS)
    assert "tiny" in cli("models", "list").out
    assert cli("models", "list", "--json").json[0]["license"] == "MIT"
    shown = cli("models", "inspect", "tiny", "--json").json
    assert {site["role"] for site in shown["sites"]} >= {"q", "k", "v", "o", "gate", "up", "down", "embed"}
    text = cli("models", "inspect", f"path:{model}").out
    assert f"{HIDDEN} > {HIDDEN}" in text
    assert cli("models", "remove", "tiny", "--yes").code == 0
    assert cli("models", "list", "--json").json == []
    assert (model / "model.safetensors").exists()


def test_that_an_unknown_model_is_answered_with_what_there_is(cli: Cli, model: Path) -> None:
    cli("models", "add", model, "--name", "tiny")
    answer = cli("models", "inspect", "tinny")
    assert answer.code == 2
    assert "tiny" in answer.err


def test_that_data_is_added_previewed_and_removed(cli: Cli, model: Path, questions: Path) -> None:
    assert "data add" in cli("data", "list").err
    mapping = ["--format", "prompt-completion", "--map", "prompt={question} ?", "--map", "completion=answer"]
    added = cli("data", "add", questions, "--name", "q", *mapping, "--json").json
    assert (added["rows"], added["format"]) == (60, "prompt-completion")
    assert "60" in cli("data", "list").out
    assert "prompt = '{question} ?'" in cli("data", "inspect", "q").out
    text = cli("data", "preview", "q", "--count", 1).out
    assert "--- row 0" in text
    assert "[[" in text
    rows = cli("data", "preview", "q", "--model", f"path:{model}", "--start", 1, "--count", 2, "--json").json
    assert [row["index"] for row in rows] == [1, 2]
    assert rows[0]["tokens"] > rows[0]["trained"] > 0
    assert cli("data", "remove", "q", "--yes").code == 0
    assert questions.exists()


def test_that_faults_are_named_and_mended_in_a_copy(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"prompt": f"What is {row}?", "completion": f"It is {row} &amp; more."} for row in range(3)]
    rows.append({"prompt": "And?", "completion": ""})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cli("data", "add", path)
    answer = cli("data", "lint", "a")
    assert answer.code == 1
    assert "error: data.columns.completion: the completion is empty in 1 of 4 rows (row 4)" in answer.err
    assert "warning: a: HTML is left in the text in 3 of 4 rows (row 1, 2, 3)" in answer.err
    assert "some of 4 rows cannot be learned from" in answer.out
    assert "pet-studio data lint a --fix markup (kinds: markup, unusable)" in answer.out
    found = {finding["kind"]: finding for finding in cli("data", "lint", "a", "--json").json}
    assert (found["unusable"]["rows"], found["unusable"]["count"]) == ([4], 1)
    assert (found["markup"]["severity"], found["markup"]["mends"]) == ("warning", "take the HTML out")
    wrong = cli("data", "lint", "a", "--fix", "marcup")
    assert (wrong.code, "did you mean 'markup'?" in wrong.err) == (2, True)
    made = cli("data", "lint", "a", "--fix", "markup", "--fix", "unusable", "--name", "clean", "--json").json
    assert (made["name"], made["parent"], made["rows"], len(made["steps"])) == ("clean", "a", 3, 2)
    assert cli("data", "lint", "clean").out == "all 3 rows can be learned from\n"


def test_that_a_file_that_is_no_dataset_is_refused_in_words(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"a": 1}\n{"a": \n')
    answer = cli("data", "add", tmp_path / "bad.jsonl")
    assert answer.code == 2
    assert "bad.jsonl:2" in answer.err


def test_that_methods_are_listed_with_the_promised_fields(cli: Cli) -> None:
    methods = cli("methods", "list", "--json").json
    assert {"lora"} <= {method["id"] for method in methods}
    fields = {"id", "kind", "title", "paper", "version", "params_schema", "traits"}
    assert all(fields == method.keys() for method in methods)
    assert "LoRA" in cli("methods", "list").out
    assert "rank" in cli("methods", "show", "lora").out
    assert cli("methods", "show", "lora", "--json").json["formula"]


def test_that_a_method_is_counted_exactly(cli: Cli, model: Path) -> None:
    arguments = ["--model", f"path:{model}", "--method", "lora", "--where", "role == q", "--params", '{"rank": 4}']
    counted = cli("methods", "count", *arguments, "--json").json
    assert counted["trainable"] == LAYERS * 4 * (HIDDEN + HIDDEN)
    assert counted["tensors"] == LAYERS * 2
    assert {"trainable", "total", "fraction", "tensors", "file_bytes", "params"} <= counted.keys()
    assert f"{counted['trainable']:,} of" in cli("methods", "count", *arguments).out


def test_that_a_budget_is_met(cli: Cli, model: Path) -> None:
    arguments = ["--model", f"path:{model}", "--method", "lora", "--budget", 3000, "--json"]
    counted = cli("methods", "count", *arguments).json
    assert 1500 < counted["trainable"] <= 3000


def test_that_plugins_are_listed_with_their_folders(cli: Cli) -> None:
    listed = cli("plugin", "list", "--json").json
    assert "lora" in {plugin["id"] for plugin in listed["plugins"]}
    assert listed["errors"] == []
    assert "lora" in cli("plugin", "list").out


def test_that_devices_always_name_the_cpu(cli: Cli) -> None:
    assert cli("devices", "--json").json[0]["id"] == "cpu"
    assert "cpu" in cli("devices").out


def test_that_the_doctor_examines_quickly(cli: Cli) -> None:
    report = cli("doctor", "--quick", "--json").json
    assert report["status"] in ("ok", "warning")
    assert {"Python", "torch", "Disk", "Catalog", "Plugins", "GPU"} <= {f["name"] for f in report["findings"]}
    assert cli("doctor", "--quick").code == 0


def test_that_the_doctor_names_the_remedy_and_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.service.doctor.PACKAGES", ("pydantic", "no-such-package"))
    answer = cli("doctor", "--quick")
    assert answer.code == 3
    assert "pip install no-such-package" in answer.out


def test_that_the_doctor_reports_what_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.service import doctor

    missing = doctor._probe("Qt starts", "raise ImportError('libEGL.so.1: no such file')", "apt install libegl1")
    assert (missing.level, missing.remedy) == ("error", "apt install libegl1")
    assert "libEGL.so.1" in missing.found
    monkeypatch.setattr(doctor, "IMPORT_LIMIT_S", 0.2)
    assert "no answer" in doctor._probe("slow", "import time; time.sleep(9)", "").found
