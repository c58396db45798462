"""methods …: the PET methods there are, and what they would train."""

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.cli.arguments import Json
from studio.cli.models import as_source
from studio.cli.output import print_facts, print_json, print_table, warn
from studio.core.errors import UserError
from studio.core.units import format_bytes

app = typer.Typer(help="PET methods: list, show and count them.", no_args_is_help=True)
Method = Annotated[str, typer.Argument(metavar="ID", help="Id of the method.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """List the methods."""
    from studio.service.methods import list_methods, method_errors

    found = list_methods()
    if json:
        print_json([_body(info) for info in found])
        return
    for error in method_errors():
        warn(str(error))
    print_table(["Id", "Title", "What it does"], [(info.id, info.title, info.summary) for info in found])


@app.command()
def show(method: Method, json: Json = False) -> None:
    """Show a method: paper, formula, parameters."""
    from studio.service.methods import get_method

    info = get_method(method)
    if json:
        print_json({**_body(info), "summary": info.summary, "formula": info.formula, "readme": info.readme})
        return
    print_facts(
        {
            "Id": info.id,
            "Title": info.title,
            "Summary": info.summary,
            "Formula": info.formula or "-",
            "Paper": info.paper or "-",
            "Version": info.version,
            "Sits at": info.traits["where"],
            "Merges": "yes" if info.traits["mergeable"] else "no",
        }
    )
    properties = info.params_schema.get("properties", {})
    print_table(
        ["Parameter", "Type", "Default", "What it does"],
        [
            (name, _type(field), field.get("default"), field.get("description", ""))
            for name, field in properties.items()
        ],
    )


@app.command()
def count(
    model: Annotated[str, typer.Option(metavar="MODEL", help="Name in the library, or library:, path:, hub: source.")],
    method: Annotated[str, typer.Option(metavar="ID", help="The method.")],
    params: Annotated[str, typer.Option(metavar="JSON", help='Its parameters, e.g. {"rank": 16}.')] = "{}",
    where: Annotated[str | None, typer.Option(metavar="EXPR", help="Sites, e.g. role in (q, v).")] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Trainable parameters to stay within; the method's size (its rank, bottleneck, tokens, …) is solved, "
            "whatever --params says of it.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Count exactly what a method would train on a model."""
    from studio.service.methods import count as count_method

    counted = count_method(as_source(model), method, _params(params), where, budget)
    if json:
        print_json(counted)
        return
    print_facts(
        {
            "Trainable": f"{counted.trainable:,} of {counted.total:,} parameters ({counted.fraction:.3%})",
            "Tensors": f"{counted.tensors:,} at {counted.sites:,} sites",
            "File": format_bytes(counted.file_bytes),
            "Where": counted.where,
            "Parameters": json_module.dumps(counted.params),
        }
    )


@app.command()
def adopt(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="An adapter of the studio's or of peft's.")],
    json: Json = False,
) -> None:
    """Print the method part of a spec that goes on from an adapter."""
    from studio.service.adopt import adopt as adopt_folder
    from studio.service.spec_file import spec_text

    body = {"method": adopt_folder(folder).model_dump(mode="json", exclude_defaults=True)}
    if json:
        print_json(body)
    else:
        typer.echo(spec_text(body), nl=False)


def _body(info: Any) -> dict[str, Any]:
    names = ("id", "kind", "title", "paper", "version", "params_schema", "traits")
    return {name: getattr(info, name) for name in names}


def _params(text: str) -> dict[str, Any]:
    try:
        params = json_module.loads(text)
    except ValueError as error:
        raise UserError(f"is not JSON: {error}", where="--params", hint='write e.g. {"rank": 16}') from error
    if not isinstance(params, dict):
        raise UserError("is no JSON object", where="--params", hint='write e.g. {"rank": 16}')
    return params


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"])
    if "anyOf" in field:
        return " | ".join(_type(option) for option in field["anyOf"])
    return str(field.get("type", field.get("const", "")))
