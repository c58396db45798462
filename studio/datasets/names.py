"""Names of datasets and the folder names made from them."""

import re
import unicodedata
from collections.abc import Iterable
from itertools import count

from studio.core.errors import UserError

MAX_NAME_CHARS = 80


def checked_name(name: str) -> str:
    """The name without outer blanks; a UserError if it is no single printable line or makes no folder name."""
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable() or not slug(name):
        raise UserError(
            f"{name[:MAX_NAME_CHARS]!r} is no usable name",
            where="name",
            hint=f"use letters and digits, at most {MAX_NAME_CHARS} characters",
        )
    return name


def slug(name: str) -> str:
    """The folder name: lower-case ASCII letters, digits, dots and dashes; empty if nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.")


def next_version(name: str, taken: Iterable[str]) -> str:
    """``boolq`` becomes ``boolq-v2``, that ``boolq-v3``: the first that is not taken."""
    base = re.sub(r"-v\d+$", "", name)
    slugs = {slug(other) for other in taken}
    return next(made for number in count(2) if slug(made := f"{base}-v{number}") not in slugs)
