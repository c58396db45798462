"""plugins.toml: which plugins the user turned on and off."""

import os
import tomllib
from pathlib import Path

from studio.core.errors import MachineError, UserError
from studio.core.paths import home

SCHEMA = 1


def choices_file() -> Path:
    """Where the choices are kept, beside settings.toml."""
    return home().settings.with_name("plugins.toml")


def read_choices() -> dict[str, bool]:
    """On or off by plugin id, as far as the user chose.

    Raises:
        UserError: the file is damaged.
    """
    path = choices_file()
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"cannot be read: {error}", where=str(path), hint="correct or delete it, then enable your plugins again"
        ) from error
    enabled = body.get("enabled", {})
    return (
        {key: value for key, value in enabled.items() if isinstance(value, bool)} if isinstance(enabled, dict) else {}
    )


def choose(plugin_id: str, enabled: bool | None) -> None:
    """Turn a plugin on or off; None forgets the choice. The file is replaced at once or not at all."""
    import tomli_w  # a worker only reads

    choices = {key: value for key, value in read_choices().items() if key != plugin_id}
    if enabled is not None:
        choices[plugin_id] = enabled
    path = choices_file()
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            tomli_w.dump({"schema": SCHEMA, "enabled": choices}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise MachineError(
            f"the choice cannot be saved: {error.strerror or error}", where=str(path), hint="check the disk"
        ) from error
