"""A model's sites as a drawing needs them: boxes in columns from the embedding to the head, frames around them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from studio.api import Site

# the columns of a block in the order in which data flows through them
COLUMNS: tuple[tuple[str, ...], ...] = (
    ("conv",),
    ("conv_norm",),
    ("norm1",),
    ("q", "k", "v", "qkv"),
    ("q_norm", "k_norm"),
    ("o",),
    ("norm2",),
    ("router",),
    ("gate", "up", "gate_up", "fc1", "expert_gate_up"),
    ("down", "fc2", "expert_down"),
)
# the roles that a container spans; a block spans all
SPANS = {
    "attention": ("q", "k", "v", "qkv", "q_norm", "k_norm", "o"),
    "ffn": ("router", "gate", "up", "gate_up", "fc1", "expert_gate_up", "down", "fc2", "expert_down"),
}
CONTAINERS = ("block", "attention", "ffn", "model")
BEFORE = ("embed", "patch_embed", "pos_embed", "type_embed", "embed_norm", "embed_proj")
AFTER = ("norm", "pooler", "head_proj", "head")


@dataclass(frozen=True)
class Box:
    """One role: how many sites have it, how many of them are trained, and what stands below the word."""

    role: str
    sites: int
    chosen: int
    note: str


@dataclass(frozen=True)
class Frame:
    """A container that something is trained at, around the columns ``first`` to ``last`` of the block.

    ``note`` is drawn; ``detail`` is for the tool tip alone.
    """

    role: str
    note: str
    detail: str
    first: int
    last: int


@dataclass(frozen=True)
class Beside:
    """What a method puts beside the sites: virtual tokens before the first block, or a network of its own."""

    tokens: int = 0
    side_network: bool = False


@dataclass(frozen=True)
class Drawing:
    """What is drawn. ``layers`` says for each block whether anything in it is trained."""

    before: tuple[Box, ...]
    block: tuple[tuple[Box, ...], ...]
    after: tuple[Box, ...]
    frames: tuple[Frame, ...]
    whole_block: str  # how many blocks are trained at as a whole; empty if none
    layers: tuple[bool, ...]
    side_network: bool

    @property
    def boxes(self) -> tuple[Box, ...]:
        return (*self.before, *(box for column in self.block for box in column), *self.after)


def plan_drawing(sites: Sequence[Site], chosen: Collection[str], beside: Beside = Beside()) -> Drawing:
    """Boxes for all roles present; ``chosen`` are the paths of the sites with trained tensors."""
    plain = [site for site in sites if site.kind not in CONTAINERS]
    inside = [site for site in plain if site.layer is not None]
    outside = [site for site in plain if site.layer is None]
    known = {role for column in COLUMNS for role in column}
    others = tuple(dict.fromkeys(site.role for site in inside if site.role not in known))
    columns = (*COLUMNS, others) if others else COLUMNS
    rest = tuple(dict.fromkeys(site.role for site in outside if site.role not in (*BEFORE, *AFTER)))
    block = tuple(boxes for column in columns if (boxes := _boxes(column, inside, chosen)))
    layered = [site for site in sites if site.layer is not None]
    used = {site.layer for site in layered if site.path in chosen}
    last = max((site.layer for site in layered if site.layer is not None), default=-1)
    at_model = any(site.kind == "model" and site.path in chosen for site in sites)
    return Drawing(
        before=(*_prompt(beside), *_boxes(BEFORE, outside, chosen)),
        block=block,
        after=(*_boxes((*AFTER, *rest), outside, chosen), *_output(beside, at_model=at_model)),
        frames=_frames(sites, chosen, block),
        whole_block=_share([site for site in sites if site.kind == "block"], chosen),
        layers=tuple(layer in used for layer in range(last + 1)),
        side_network=beside.side_network,
    )


def words(drawing: Drawing) -> str:
    """The drawing for those who cannot see it."""
    marked = [f"{box.role} ({_spoken(box.note)})" for box in drawing.boxes if box.chosen]
    marked += [f"{frame.role} ({_spoken(frame.note)}{frame.detail})" for frame in drawing.frames]
    marked += [f"block ({_spoken(drawing.whole_block)})"] if drawing.whole_block else []
    marked += ["a side network"] if drawing.side_network else []
    return f"Chosen: {', '.join(marked)}" if marked else "Nothing is chosen"


def _spoken(note: str) -> str:
    return note.replace("/", " of ")


def _boxes(roles: Sequence[str], sites: Sequence[Site], chosen: Collection[str]) -> tuple[Box, ...]:
    boxes = []
    for role in roles:
        having = [site for site in sites if site.role == role]
        if having:
            count = sum(site.path in chosen for site in having)
            copies = max(site.copies for site in having)
            note = (_share(having, chosen) or f"{len(having)}") + (f" ×{copies}" if copies > 1 else "")
            boxes.append(Box(role, len(having), count, note))
    return tuple(boxes)


def _share(sites: Sequence[Site], chosen: Collection[str]) -> str:
    """``30/30``; empty if none is chosen."""
    count = sum(site.path in chosen for site in sites)
    return f"{count}/{len(sites)}" if count else ""


def _prompt(beside: Beside) -> tuple[Box, ...]:
    return (Box("soft prompt", 1, 1, f"{beside.tokens} tokens"),) if beside.tokens else ()


def _output(beside: Beside, *, at_model: bool) -> tuple[Box, ...]:
    """The model's output, where a method changes that."""
    return (Box("output", 1, 1, "1/1"),) if at_model and not beside.tokens and not beside.side_network else ()


def _frames(sites: Sequence[Site], chosen: Collection[str], block: Sequence[Sequence[Box]]) -> tuple[Frame, ...]:
    frames = []
    for role, span in SPANS.items():
        having = [site for site in sites if site.kind == role]
        places = [place for place, column in enumerate(block) if {box.role for box in column} & set(span)]
        if (share := _share(having, chosen)) and places:
            detail = next((f", keys {site.d_kv} wide" for site in having if site.d_kv), "")
            frames.append(Frame(role, share, detail, places[0], places[-1]))
    return tuple(frames)
