"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the file; default: this one.")]
Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="A spec file, YAML or JSON; - reads it from stdin.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Run id, its beginning, the run's name, or: last.")]
