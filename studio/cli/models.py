"""models …: the library of base models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio.cli.arguments import Json, Yes
from studio.cli.output import (
    confirm,
    never_cancelled,
    print_facts,
    print_json,
    print_table,
    progress_line,
    say,
    to_plain,
    warn_of,
)
from studio.core.errors import UserError
from studio.core.units import format_bytes, format_count

if TYPE_CHECKING:
    from studio.core.facts import ModelFacts

app = typer.Typer(help="Base models: list, add, download, inspect and remove them.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name in the library.")]
NewName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Name in the library; default: the folder's.")
]
License = Annotated[str, typer.Option("--license", metavar="TEXT", help="The licence, for the record.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """List the models in the library."""
    from studio.service.libraries import models

    library = models()
    found = library.list()
    if json:
        print_json(found)
        return
    warn_of(library.problems())
    print_table(
        ["Model", "Kind", "Architecture", ">Parameters", ">Weights", "Type", "Licence"],
        [
            (
                facts.name, facts.kind, facts.architecture, format_count(facts.params),
                format_bytes(facts.weight_bytes), facts.dtype, facts.license or "-",
            )
            for facts in found
        ],
        spare=("Type", "Licence", "Architecture"),
        empty="the library is empty: `pet-studio starter` brings a small model, `models add` your own",
    )  # fmt: skip


@app.command()
def add(
    path: Annotated[Path, typer.Argument(help="A model folder (safetensors) or a GGUF file.")],
    name: NewName = None,
    license: License = "",
    json: Json = False,
) -> None:
    """Add a model from this machine; a GGUF file is converted."""
    from studio.service.libraries import models

    with progress_line() as progress:
        facts = models().add(path, name=name, license=license, progress=progress, cancelled=never_cancelled)
    _tell(facts, json)


@app.command()
def download(
    source: Annotated[str, typer.Argument(metavar="hub:ORG/NAME[@REV]", help="A model on the hub.")],
    name: NewName = None,
    json: Json = False,
) -> None:
    """Download a model from the hub: safetensors, config, tokenizer."""
    from studio.service.libraries import download_model

    scheme, _, rest = source.partition(":")
    if scheme != "hub" or not rest:
        raise UserError(f"{source!r} is no hub source", hint="write hub:ORG/NAME or hub:ORG/NAME@REVISION")
    repo, _, revision = rest.partition("@")
    with progress_line() as progress:
        facts = download_model(repo, revision or None, name=name, progress=progress, cancelled=never_cancelled)
    _tell(facts, json)


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(help="Name in the library, or library:, path: or hub: source.")],
    json: Json = False,
) -> None:
    """Show what a model is made of and where methods can sit."""
    from studio.models.sites import find_sites
    from studio.service.libraries import models

    facts = models().resolve(as_source(model))
    sites = find_sites(Path(facts.path))
    if json:
        print_json({**to_plain(facts), "sites": sites})
        return
    print_facts(facts.model_dump())
    by_role: dict[tuple[str, str], list[str]] = {}
    for site in sites:
        by_role.setdefault((site.role, site.kind), []).append(f"{site.d_in} > {site.d_out}")
    lines = [(role, kind, len(sizes), ", ".join(dict.fromkeys(sizes))) for (role, kind), sizes in by_role.items()]
    print_table(["Role", "Kind", ">Sites", "Sizes (in > out)"], lines)


@app.command()
def remove(name: Name, yes: Yes = False, json: Json = False) -> None:
    """Take a model out of the library; files it only refers to stay."""
    from studio.service.libraries import models

    facts = models().get(name)
    confirm(f"Remove model {facts.name} from the library?", yes)
    models().remove(name)
    print_json({"removed": facts.name}) if json else say(f"removed {facts.name}")


def as_source(text: str) -> str:
    """A source as specs write it; a bare word is a name in the library."""
    return text if text.partition(":")[0] in ("library", "path", "hub") else f"library:{text}"


def _tell(facts: "ModelFacts", json: bool) -> None:
    if json:
        print_json(facts)
    else:
        from studio.service.libraries import models

        warn_of(problem for problem in models().problems() if problem.where == f"library:{facts.name}")
        say(f"{facts.name}: {facts.architecture}, {format_count(facts.params)} parameters")
