"""Every failure is a message and an exit code; the command line starts without heavy libraries."""

import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studio import __main__
from studio.cli import app as cli_app
from studio.cli import output
from studio.core.errors import BugError, MachineError, UserError
from studio.core.paths import home
from tests.unit.cli.conftest import Cli

ROOT = Path(__file__).parents[3]
COMMANDS = (
    "quickstart starter validate plan estimate probe train export devices doctor;"
    "runs list show watch stop pause resume delete tag note compare export-curves power;"
    "catalog rebuild check;models list add inspect remove download;"
    "data list add inspect preview lint remove;methods list show count;"
    "plugin list new check install enable disable remove"
)


def test_that_help_names_every_command_in_whole_sentences() -> None:
    runner = CliRunner()
    for number, line in enumerate(COMMANDS.split(";")):
        words = line.split()
        group = [] if number == 0 else [words.pop(0)]
        shown = runner.invoke(cli_app.command_tree(), [*group, "--help"])
        assert shown.exit_code == 0
        assert "..." not in shown.stdout.replace("...]...", "").replace("[ARGS]...", ""), shown.stdout
        for word in words:
            assert f"  {word} " in shown.stdout
            leaf = runner.invoke(cli_app.command_tree(), [*group, word, "--help"])
            assert leaf.exit_code == 0
            assert "--json" in leaf.stdout, f"{group} {word}"


@pytest.mark.parametrize("word", [*chain(*cli_app.COMMANDS.values()), *cli_app.GROUPS.values()])
def test_that_the_first_word_alone_finds_its_command(word: str) -> None:
    runner = CliRunner()
    alone, whole = (
        runner.invoke(tree, [word, "--help"]) for tree in (cli_app.command_tree(word), cli_app.command_tree())
    )
    assert alone.exit_code == 0
    assert alone.stdout == whole.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["runs", "lst"], 2, ["No such command 'lst'", "pet-studio runs --help"]),
        (["rnus"], 2, ["No such command 'rnus'", "pet-studio --help"]),
        (["runs", "show"], 2, ["Missing argument 'RUN'", "pet-studio runs show --help"]),
        (["quickstart", "--steps", "none"], 2, ["valid integer", "pet-studio quickstart --help"]),
        (["runs", "show", "nix"], 2, ["there is no run 'nix'"]),
        (["validate", "nowhere.yaml"], 2, ["nowhere.yaml: there is no such file"]),
        (["runs", "list", "--state", "runing"], 2, ["did you mean 'running'?"]),
        (["runs", "list", "--sort", "nmae"], 2, ["did you mean 'name'?"]),
        (["methods", "show", "loar"], 2, ["did you mean 'lora'?"]),
        (["methods", "count", "--model", "m", "--method", "lora", "--params", "{"], 2, ["--params: is not JSON"]),
        (["models", "download", "gpt2"], 2, ["hub:ORG/NAME"]),
        (["data", "add", "x.jsonl", "--map", "prompt"], 2, ["ROLE=COLUMN"]),
    ],
)
def test_that_wrong_input_is_told_on_stderr_with_exit_code_2(
    cli: Cli, arguments: list[str], code: int, words: list[str]
) -> None:
    answer = cli(*arguments)
    assert answer.code == code
    assert answer.out == ""
    for word in words:
        assert word in answer.err


def test_that_each_kind_of_failure_has_its_exit_code(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(error: BaseException) -> int:
        def devices() -> None:
            raise error

        monkeypatch.setattr("studio.service.devices.list_devices", devices)
        return cli("devices").code

    assert raising(UserError("x")) == 2
    assert raising(MachineError("x")) == 3
    assert raising(BugError("x")) == 1
    assert raising(KeyboardInterrupt()) == 1


def test_that_a_mistake_of_ours_leaves_a_report_and_no_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def devices() -> None:
        raise ZeroDivisionError("oh dear")

    monkeypatch.setattr("studio.service.devices.list_devices", devices)
    answer = cli("devices", "--json")
    assert answer.code == 1
    assert "PET Studio made a mistake: ZeroDivisionError: oh dear" in answer.err
    (report,) = home().logs.iterdir()
    assert str(report) in answer.err
    assert "pet-studio devices --json" in report.read_text()
    assert "Traceback" in report.read_text()


def test_that_text_from_outside_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    nasty = "\x1b[2Jname\r\n[bold]x[/bold] :smile: \u202e"
    output.print_table(["A"], [[nasty]])
    output.print_facts({"Name": nasty})
    output.say(nasty)
    output.warn(nasty)
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "\u202e" not in out + err
    assert "[bold]x[/bold] :smile:" in out


def test_that_json_has_only_what_json_knows(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"a": float("nan"), "b": (1, Path("/x")), 3: None, "é": True})
    assert (
        capsys.readouterr().out == '{\n  "a": null,\n  "b": [\n    1,\n    "/x"\n  ],\n  "3": null,\n  "é": true\n}\n'
    )


def test_that_nothing_is_removed_when_nobody_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115 - closed with the process's stdin
    with pytest.raises(UserError) as caught:
        output.confirm("Delete?", yes=False)
    assert caught.value.hint == "add --yes"
    sys.stdin.close()
    output.confirm("Delete?", yes=True)


def test_that_arguments_decide_between_window_and_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert __main__._wants_window([])
    assert __main__._wants_window(["--smoke-test"])
    assert __main__._wants_window(["spec.yaml"])
    assert not __main__._wants_window(["runs", "list"])
    assert not __main__._wants_window(["--help"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_that_a_machine_without_a_display_is_told_what_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert __main__.main([]) == 3
    assert "pet-studio quickstart" in capsys.readouterr().err


def start(*arguments: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """The processor seconds of one command, whatever else the machine does, and what it said."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "studio", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system, done


def test_that_help_comes_at_once() -> None:
    seconds, done = min((start("--help") for _ in range(3)), key=lambda pair: pair[0])
    assert done.returncode == 0
    assert done.stderr == ""
    assert seconds < 0.5


def test_that_counting_loads_no_heavy_library(model: Path) -> None:
    code = (
        "import sys; from studio.__main__ import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'transformers', 'peewee', 'PySide6', 'pyarrow', 'huggingface_hub'} & set(sys.modules); "
        "assert not heavy, heavy; sys.exit(code)"
    )
    arguments = ["methods", "count", "--model", f"path:{model}", "--method", "lora", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_that_the_command_line_itself_loads_almost_nothing() -> None:
    code = (
        "import sys; import studio.cli.app; studio.cli.app.command_tree(); "
        "heavy = {'torch', 'numpy', 'peewee', 'ruamel.yaml', 'psutil', 'tokenizers', 'jinja2'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_that_a_reader_who_has_enough_hears_no_complaint() -> None:
    command = f"{sys.executable} -m studio methods list --json | head -c 1 > {os.devnull}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() in ("0", "1")  # everything may have been written before the reader left
    assert done.stderr == ""
