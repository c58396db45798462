"""A new plugin to start from: a template that works, under another name."""

import re
from pathlib import Path

from studio.core.errors import UserError
from studio.core.paths import resource
from studio.core.problems import did_you_mean
from studio.extensions.manifest import ID_PATTERN

_TEMPLATE_ID = "my-method"


def scaffold(plugin_id: str, kind: str, folder: Path) -> None:
    """Write a working plugin of this id into the new folder ``folder``.

    Raises:
        UserError: the id is not one, or there is no template of that kind.
    """
    if not re.fullmatch(ID_PATTERN.strip("^$"), plugin_id):
        raise UserError(
            f"{plugin_id!r} is no plugin id", hint="2 to 41 lower-case letters, digits and hyphens, a letter first"
        )
    templates = {path.name: path for path in resource("templates/plugin").iterdir()}
    if kind not in templates:
        raise UserError(f"there is no template of a {kind!r} plugin", hint=did_you_mean(kind, templates))
    folder.mkdir(parents=True)
    for path in templates[kind].glob("*.*"):
        (folder / path.name).write_text(_renamed(path.read_text(encoding="utf-8"), plugin_id), encoding="utf-8")


def _renamed(text: str, plugin_id: str) -> str:
    """The template's id, module name and title replaced by the plugin's."""
    for old, new in (
        (_TEMPLATE_ID, plugin_id),
        (_TEMPLATE_ID.replace("-", "_"), plugin_id.replace("-", "_")),
        (_TEMPLATE_ID.replace("-", " ").capitalize(), plugin_id.replace("-", " ").capitalize()),
    ):
        text = text.replace(old, new)
    return text
