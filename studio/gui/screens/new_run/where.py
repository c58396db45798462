"""Placement expressions and the role chips beside them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SIMPLE = re.compile(r"^\s*role\s*(?:in\s*\((?P<many>[\w\s,]*)\)|==\s*(?P<one>\w+))\s*(?P<rest>(?:and\b.*)?)$")


@dataclass(frozen=True)
class RoleChoice:
    """An expression that is a choice of roles, perhaps with more conditions after it."""

    roles: tuple[str, ...]
    rest: str = ""

    def toggled(self, role: str, order: Sequence[str]) -> "RoleChoice":
        """With the role added or taken out; roles stand in ``order``."""
        chosen = set(self.roles) ^ {role}
        known = [name for name in order if name in chosen]
        return RoleChoice((*known, *(name for name in self.roles if name in chosen and name not in order)), self.rest)

    def expression(self) -> str:
        head = f"role == {self.roles[0]}" if len(self.roles) == 1 else f"role in ({', '.join(self.roles)})"
        return f"{head} {self.rest}".strip()


def read_roles(expression: str) -> RoleChoice | None:
    """The role choice that an expression is; None for any other."""
    match = _SIMPLE.match(expression)
    if match is None:
        return None
    names = match["one"] or match["many"] or ""
    return RoleChoice(tuple(name.strip() for name in names.split(",") if name.strip()), match["rest"].strip())
