"""Spec files: YAML 1.2 or JSON to plain data and back, errors with file, line and column."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import MachineError, UserError
from studio.core.spec import RunSpec

LARGEST_BYTES = 256 * 1024
REMEDY = "see the help page 'Spec files' for an example"


def read_spec(path: Path) -> dict[str, Any]:
    """The content of a spec file as plain data, unchecked beyond its syntax.

    Raises:
        UserError: not there, not text, not YAML or JSON, a key given twice, or no mapping at its top.
    """
    try:
        return parse_text(_read(path), str(path))
    except UserError as error:
        if path.suffix.lower() in ("", ".yaml", ".yml", ".json") or not path.is_file():
            raise
        hint = f"a spec file is YAML (.yaml, .yml) or JSON (.json); is this {path.suffix} file something else?"
        raise UserError(error.message, where=error.where, hint=hint) from error


def parse_text(text: str, where: str) -> dict[str, Any]:
    """Plain data from YAML or JSON text; ``where`` names it in errors."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.tokens import AliasToken

    yaml = YAML(typ="safe", pure=True)  # YAML 1.2, so that 1e-4 is a number; JSON is a subset of it
    try:
        if "*" in text and any(isinstance(token, AliasToken) for token in yaml.scan(text)):
            raise UserError("uses an alias (*name)", where=where, hint="write the value out at each place")
        content = yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise UserError(_reason(error), where=place, hint="correct that place") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"is neither YAML nor JSON: {error}", where=where, hint=REMEDY) from error
    if content is None:
        raise UserError("is empty", where=where, hint=REMEDY)
    if not isinstance(content, dict):
        raise UserError("is not a mapping of keys to values", where=where, hint=REMEDY)
    plain: dict[str, Any] = _plain(content, where)
    return plain


def _plain(value: Any, where: str) -> Any:
    """The value in JSON's terms: dates as text, keys as text."""
    if isinstance(value, dict):
        if not all(isinstance(key, str | int | float | bool) for key in value):
            raise UserError("has a key that is not a word", where=where, hint=REMEDY)
        return {str(key): _plain(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def write_spec(spec: RunSpec | Mapping[str, Any], path: Path) -> None:
    """Write a spec as YAML, or as JSON if the name ends in .json; complete or not at all.

    Raises:
        MachineError: the file cannot be written.
    """
    body = spec.model_dump(mode="json") if isinstance(spec, RunSpec) else dict(spec)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        partial.write_text(spec_text(body, json_form=path.suffix == ".json"), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise MachineError(f"cannot be written: {error.strerror or error}", where=str(path)) from error


def spec_text(body: Mapping[str, Any], *, json_form: bool = False) -> str:
    """A spec as the text of a file."""
    if json_form:
        import json

        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    text = _yaml_text(body, escaped=False)
    # WORKAROUND: the emitter writes some control characters (U+0085) raw, and they are read back as line breaks
    return text if _reads_back(text, body) else _yaml_text(body, escaped=True)


def _reads_back(text: str, body: Mapping[str, Any]) -> bool:
    try:
        return parse_text(text, "spec") == body
    except UserError:
        return False


def _yaml_text(body: Mapping[str, Any], *, escaped: bool) -> str:
    import io

    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = not escaped
    yaml.width = 1_000_000  # WORKAROUND: the emitter breaks long keys in two, which no reader accepts
    yaml.sort_base_mapping_type_on_output = False
    out = io.StringIO()
    yaml.dump(dict(body), out)
    return out.getvalue()


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UserError("is too large for a spec file", where=str(path), hint="is it the dataset?")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError("there is no such file", where=str(path), hint="check the path") from error
    except IsADirectoryError as error:
        raise UserError("is a folder, not a spec file", where=str(path), hint="name the file in it") from error
    except UnicodeDecodeError as error:
        raise UserError(f"is not UTF-8 text (byte {error.start})", where=str(path), hint="save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path), hint="check its rights") from error


def _reason(error: Any) -> str:
    """The sentence of a YAML error, without its excerpt and links."""
    problem = str(error.problem or error.context or "cannot be read").splitlines()[0]
    context = str(error.context or "")
    return f"{problem} {context}" if context.startswith(("while scanning", "while parsing")) else problem
