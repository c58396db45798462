"""The command tree and its one boundary, where every failure becomes a message and an exit code."""

import os
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from studio.cli.output import warn
from studio.core.errors import BugError, StudioError, refused
from studio.core.paths import home

INTERRUPTED = 130  # what Typer makes of Ctrl-C
COMMANDS = {  # by the module that registers them
    "specs": ("validate", "plan", "estimate"),
    "probe": ("probe",),
    "train": ("train", "quickstart", "starter"),
    "export": ("export",),
    "machine": ("devices", "doctor"),
    "accuracy": ("accuracy",),
}
GROUPS = {  # by the module that holds them
    "runs": "runs",
    "models": "models",
    "data": "data",
    "methods": "methods",
    "plugins": "plugin",
    "catalog": "catalog",
}


def command_tree(word: str = "") -> typer.Typer:
    """Every command; or, if ``word`` names a command or a group, that one's module alone, which starts sooner."""
    app = typer.Typer(
        name="pet-studio",
        help="Parameter-efficient tuning of local models: foresee it, run it, watch it, keep it. "
        "Without a command, the window opens.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    wanted = [module for module, names in COMMANDS.items() if word in names]
    wanted += [module for module, name in GROUPS.items() if word == name]
    for module in wanted or (*COMMANDS, *GROUPS):
        part = import_module(f"studio.cli.{module}")
        if module in GROUPS:
            app.add_typer(part.app, name=GROUPS[module])
        else:
            part.register(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("pet-studio"))
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


def run(arguments: Sequence[str]) -> int:
    """Execute one command line; the exit code: 0 done, 1 failed, 2 wrong input, 3 the machine lacks something."""
    try:
        tree = typer.main.get_command(command_tree(*arguments[:1]))
        result = tree.main(list(arguments), prog_name="pet-studio", standalone_mode=False)
    except StudioError as error:
        warn(f"error: {error}")
        return error.exit_code
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "pet-studio"
        warn(f"error: {error.format_message()}\n  `{command} --help` explains")
        return 2
    except typer.Abort:
        result = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the boundary: a fault of ours becomes a report
        known = refused(error) if isinstance(error, OSError) else None
        told = known or _bug(error, arguments)
        warn(f"error: {told}" if known else str(told))
        return told.exit_code
    if result == INTERRUPTED:
        warn("interrupted")
        return 1
    return result if isinstance(result, int) else 0


def _bug(error: Exception, arguments: Sequence[str]) -> BugError:
    """The report of an unexpected exception; its details go to a log file."""
    details = f"pet-studio {' '.join(arguments)}\n{''.join(traceback.format_exception(error))}"
    path = home().logs / f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    return BugError(
        f"PET Studio made a mistake: {type(error).__name__}: {error}",
        hint=f"details are in {_written(path, details)}; please report them",
    )


def _written(path: Path, details: str) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(details, encoding="utf-8")
    except OSError:
        return f"here, as {path} cannot be written:\n{details}"
    return str(path)
