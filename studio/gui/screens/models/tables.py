"""The tables of the Models screen: the library, and one model's sites by role."""

from collections.abc import Iterable
from dataclasses import dataclass

from studio.api import Site
from studio.core.facts import ModelFacts
from studio.core.units import format_bytes, format_count
from studio.gui.models.records import Column

MODEL_COLUMNS: tuple[Column[ModelFacts], ...] = (
    Column("Name", lambda facts: facts.name),
    Column("Kind", lambda facts: facts.kind),
    Column("Parameters", lambda facts: format_count(facts.params), sort=lambda facts: facts.params, numeric=True),
    Column("Size", lambda facts: format_bytes(facts.weight_bytes), sort=lambda facts: facts.weight_bytes, numeric=True),
)


@dataclass(frozen=True)
class RoleLine:
    """The sites of one role: how many, what kind, what size."""

    role: str
    kind: str
    sites: int
    shapes: str
    params: int


def _params_text(line: RoleLine) -> str:
    return format_count(line.params) if line.params else "–"


ROLE_COLUMNS: tuple[Column[RoleLine], ...] = (
    Column("Role", lambda line: line.role),
    Column("Kind", lambda line: line.kind),
    Column("Sites", lambda line: f"{line.sites:,}", sort=lambda line: line.sites, numeric=True),
    Column("Parameters", _params_text, sort=lambda line: line.params, numeric=True),
    Column("Shape", lambda line: line.shapes),
)


def role_lines(sites: Iterable[Site]) -> list[RoleLine]:
    """Sites summed up by role, in the model's own order."""
    groups: dict[tuple[str, str], list[Site]] = {}
    for site in sites:
        groups.setdefault((site.role, site.kind), []).append(site)
    return [_line(role, kind, group) for (role, kind), group in groups.items()]


def _line(role: str, kind: str, sites: list[Site]) -> RoleLine:
    shapes = list(dict.fromkeys(" × ".join(f"{size:,}" for size in site.shape) for site in sites))
    shown = shapes[0] if len(shapes) == 1 else f"{shapes[0]} and {len(shapes) - 1} more"
    return RoleLine(role, kind, len(sites), shown, sum(_count(site) for site in sites))


def _count(site: Site) -> int:
    """Weight scalars; a site around others has none, and a tied one leaves them to its owner."""
    if site.tied_to or not site.shape:
        return 0
    total = 1
    for size in site.shape:
        total *= size
    return total


def facts_lines(facts: ModelFacts) -> list[tuple[str, str]]:
    """What is known of a model, caption and words."""
    heads = (
        f"{facts.heads}" if facts.kv_heads == facts.heads else f"{facts.heads}, {facts.kv_heads} for keys and values"
    )
    return [
        ("Architecture", f"{facts.architecture} ({facts.kind})"),
        ("Parameters", f"{facts.params:,}"),
        ("Weights", f"{format_bytes(facts.weight_bytes)}, mostly {facts.dtype}"),
        ("Layers", f"{facts.layers} of width {facts.hidden:,}"),
        ("Heads", f"{heads}; {facts.head_dim} wide"),
        ("Vocabulary", f"{facts.vocab:,}{', embedding tied to the head' if facts.tied_embeddings else ''}"),
        ("Longest input", f"{facts.max_positions:,} tokens"),
        ("Chat template", "yes" if facts.has_chat_template else "none"),
        ("Licence", facts.license or "not stated"),
        ("Folder", facts.path),
    ]
