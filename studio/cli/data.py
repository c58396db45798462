"""data …: the library of datasets."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.cli.arguments import Json, Yes
from studio.cli.models import as_source
from studio.cli.output import (
    confirm,
    never_cancelled,
    print_facts,
    print_json,
    print_table,
    progress_line,
    say,
    warn,
    warn_of,
)
from studio.core.errors import UserError
from studio.core.problems import did_you_mean
from studio.datasets.formats import FORMATS

if TYPE_CHECKING:
    from studio.core.facts import DataFacts
    from studio.datasets.lint.finding import Finding
    from studio.datasets.preview import PreviewRow

LISTED_ROWS = 100
app = typer.Typer(help="Datasets: list, add, inspect, preview, lint and remove them.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name in the library.")]
DataName = Annotated[str, typer.Argument(metavar="DATA", help="Name in the library, or library: or path: source.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """List the datasets in the library."""
    from studio.service.libraries import datasets

    library = datasets()
    found = library.list()
    if json:
        print_json(found)
        return
    warn_of(library.problems())
    print_table(
        ["Dataset", ">Rows", "Format", "Columns", "Licence"],
        [
            (facts.name, f"{facts.rows:,}", facts.format, ", ".join(facts.columns), facts.license or "-")
            for facts in found
        ],
        empty="the library is empty: `pet-studio starter` brings some, `data add FILE` your own",
    )


@app.command()
def add(
    path: Annotated[
        Path, typer.Argument(help="JSONL, JSON, CSV, TSV, Parquet, Arrow, SQLite or text; a folder or .zip of them.")
    ],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name in the library; default: the file's.")] = None,
    format: Annotated[str, typer.Option(metavar="FORMAT", help=f"{', '.join(FORMATS)}; or auto.")] = "auto",
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="ROLE=COLUMN",
            help="Column or template of a role: 'prompt=Q: {question}'; may be repeated.",
        ),
    ] = None,
    license: Annotated[str, typer.Option(metavar="TEXT", help="The licence, for the record.")] = "",
    source: Annotated[str, typer.Option(metavar="TEXT", help="Where the data comes from, for the record.")] = "",
    table: Annotated[
        str, typer.Option(metavar="TABLE", help="The table or view of a SQLite database that holds several.")
    ] = "",
    leave_out_unusable: Annotated[
        bool,
        typer.Option("--leave-out-unusable", help="Drop rows that train nothing, such as those without an answer."),
    ] = False,
    json: Json = False,
) -> None:
    """Add a dataset from this machine; the file stays as it is."""
    from studio.service.libraries import datasets

    mapping = _mapping(map_ or [])
    with progress_line() as progress:
        facts = datasets().add(
            path, name=name, license=license, source=source, mapping=mapping, format=format, table=table,
            leave_out_unusable=leave_out_unusable, progress=progress, cancelled=never_cancelled,
        )  # fmt: skip
    _tell(facts, json)


@app.command()
def inspect(data: DataName, json: Json = False) -> None:
    """Show a dataset's format, columns, mapping and labels."""
    from studio.service.libraries import datasets

    _tell(datasets().resolve(as_source(data)), json, every=True)


@app.command()
def preview(
    data: DataName,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Show the tokens as this model's tokenizer makes them.")
    ] = None,
    start: Annotated[int, typer.Option(metavar="N", min=0, help="First row.")] = 0,
    count: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Number of rows.")] = 3,
    max_length: Annotated[int, typer.Option(metavar="N", min=8, help="Longest row, in tokens.")] = 512,
    json: Json = False,
) -> None:
    """Show rows as training sees them, the trained part in [[ ]]."""
    from studio.datasets.encode import Encoder
    from studio.datasets.preview import preview as render
    from studio.datasets.store import StoredDataset
    from studio.service.libraries import datasets, models

    facts = datasets().resolve(as_source(data))
    task = "classification" if facts.format == "classification" else "sft"
    encoder = None
    if model is not None:
        encoder = Encoder(
            Path(models().resolve(as_source(model)).path), task=task, format=facts.format, mapping=facts.mapping,
            labels=facts.labels, max_length=max_length,
        )  # fmt: skip
    rows = render(StoredDataset(Path(facts.path)), encoder, facts.format, facts.mapping, facts.labels, start, count)
    if json:
        print_json(rows)
        return
    for row in rows:
        _show(row)


@app.command()
def lint(
    data: DataName,
    fix: Annotated[
        list[str] | None,
        typer.Option("--fix", metavar="KIND", help="Mend this kind of fault in a new dataset; may be repeated."),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the new dataset.")] = None,
    json: Json = False,
) -> None:
    """Check every row and name those with a fault. Exit code 1 if some cannot be learned from."""
    from studio.service.libraries import datasets

    library = datasets()
    facts = library.resolve(as_source(data))
    with progress_line() as progress:
        found = library.lint(facts.name, progress=progress, cancelled=never_cancelled)
    if fix:
        chosen = _fixable(found, fix)
        with progress_line() as progress:
            made = library.mend(facts.name, chosen, new_name=name, progress=progress, cancelled=never_cancelled)
        _tell(made, json)
        return
    if json:
        print_json([_described(finding) for finding in found])
    else:
        warn_of(finding.problem for finding in found)
        unusable = any(finding.severity == "error" for finding in found)
        say(f"some of {facts.rows:,} rows cannot be learned from" if unusable else
            f"all {facts.rows:,} rows can be learned from")  # fmt: skip
        kinds = sorted({finding.kind for finding in found if finding.mends})
        if kinds:
            say(f"a copy without a fault: pet-studio data lint {facts.name} --fix {kinds[0]}"
                f" (kinds: {', '.join(kinds)})")  # fmt: skip
    if any(finding.severity == "error" for finding in found):
        raise typer.Exit(1)


def _fixable(found: "list[Finding]", kinds: list[str]) -> "list[Finding]":
    known = {finding.kind for finding in found if finding.mends}
    for kind in kinds:
        if kind not in known:
            raise UserError(f"there is no {kind!r} to mend", where="--fix", hint=did_you_mean(kind, known))
    return [finding for finding in found if finding.kind in kinds]


def _described(finding: "Finding") -> dict[str, Any]:
    rows = [int(row) + 1 for row in finding.rows[:LISTED_ROWS]]
    return {
        **asdict(finding.problem), "kind": finding.kind, "count": len(finding.rows), "rows": rows,
        "mends": finding.mends,
    }  # fmt: skip


@app.command()
def remove(name: Name, yes: Yes = False, json: Json = False) -> None:
    """Take a dataset out of the library; its file stays."""
    from studio.service.libraries import datasets

    facts = datasets().get(name)
    confirm(f"Remove dataset {facts.name} from the library?", yes)
    datasets().remove(name)
    print_json({"removed": facts.name}) if json else say(f"removed {facts.name}")


def _show(row: "PreviewRow") -> None:
    counts = f", {row.tokens} tokens, {row.trained} trained" if row.tokens is not None else ""
    say(f"--- row {row.index}{counts}{', cut to fit' if row.truncated else ''}")
    if row.error:
        warn(row.error)
    elif not row.segments:
        say(str(row.row))  # a conversation, which only a model's chat template turns into text
    text = "".join(f"[[{segment.text}]]" if segment.trained else segment.text for segment in row.segments)
    for line in text.splitlines():
        say(line)
    if row.label:
        say(f"label: {row.label}")


def _mapping(pairs: list[str]) -> dict[str, str] | None:
    mapping = {}
    for pair in pairs:
        role, sign, column = pair.partition("=")
        if not sign or not role or not column:
            raise UserError(f"{pair!r} is no mapping", where="--map", hint="write ROLE=COLUMN or ROLE=TEMPLATE")
        mapping[role.strip()] = column
    return mapping or None


def _tell(facts: "DataFacts", json: bool, *, every: bool = False) -> None:
    if json:
        print_json(facts)
    elif every:
        shown = facts.model_dump()
        shown["mapping"] = ", ".join(f"{role} = {column!r}" for role, column in facts.mapping.items())
        shown["columns"], shown["labels"] = ", ".join(facts.columns), ", ".join(facts.labels)
        print_facts(shown)
    else:
        say(f"{facts.name}: {facts.rows:,} rows, format {facts.format}")
