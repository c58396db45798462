"""A model's sites as a drawing needs them: boxes in columns, from the embedding to the head."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from studio.api import Site

# the columns of a block in the order in which data flows through them
COLUMNS: tuple[tuple[str, ...], ...] = (
    ("norm1",),
    ("q", "k", "v", "qkv"),
    ("o",),
    ("norm2",),
    ("gate", "up", "gate_up", "fc1"),
    ("down", "fc2"),
)
CONTAINERS = ("block", "attention", "model")  # sites around others, drawn only when something sits there
BEFORE = ("embed", "pos_embed", "type_embed", "embed_norm")
AFTER = ("norm", "pooler", "head")


@dataclass(frozen=True)
class Box:
    """One role: how many sites have it and how many of them are chosen."""

    role: str
    sites: int
    chosen: int


@dataclass(frozen=True)
class Drawing:
    """What is drawn. ``layers`` says for each block whether anything in it is chosen."""

    before: tuple[Box, ...]
    block: tuple[tuple[Box, ...], ...]
    after: tuple[Box, ...]
    layers: tuple[bool, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        return (*self.before, *(box for column in self.block for box in column), *self.after)


def plan_drawing(sites: Sequence[Site], chosen: Collection[str]) -> Drawing:
    """Boxes for all roles present; ``chosen`` are paths of the sites a placement selects."""
    shown = [site for site in sites if site.kind not in CONTAINERS or site.path in chosen]
    inside = [site for site in shown if site.layer is not None]
    outside = [site for site in shown if site.layer is None]
    known = {role for column in COLUMNS for role in column}
    others = tuple(dict.fromkeys(site.role for site in inside if site.role not in known))
    columns = (*COLUMNS, others) if others else COLUMNS
    last = max((site.layer for site in inside if site.layer is not None), default=-1)
    used = {site.layer for site in inside if site.path in chosen}
    rest = tuple(dict.fromkeys(site.role for site in outside if site.role not in (*BEFORE, *AFTER)))
    return Drawing(
        before=_boxes(BEFORE, outside, chosen),
        block=tuple(boxes for column in columns if (boxes := _boxes(column, inside, chosen))),
        after=_boxes((*AFTER, *rest), outside, chosen),
        layers=tuple(layer in used for layer in range(last + 1)),
    )


def words(drawing: Drawing) -> str:
    """The drawing for those who cannot see it."""
    marked = [f"{box.role} ({box.chosen} of {box.sites})" for box in drawing.boxes if box.chosen]
    return f"Chosen: {', '.join(marked)}" if marked else "Nothing is chosen"


def _boxes(roles: Sequence[str], sites: Sequence[Site], chosen: Collection[str]) -> tuple[Box, ...]:
    boxes = []
    for role in roles:
        having = [site for site in sites if site.role == role]
        if having:
            boxes.append(Box(role, len(having), sum(site.path in chosen for site in having)))
    return tuple(boxes)
